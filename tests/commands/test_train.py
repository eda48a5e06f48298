"""saccade train and saccade check: what they say, and what they refuse without touching anything."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.commands.conftest import (
    SMALLEST,
    Run,
    arguments,
    environment,
    pair,
    refused,
    settings,
    snapshot,
)


def test_a_run_holds_what_it_promises(run_folder: Path) -> None:
    config = tomllib.loads((run_folder / "config.toml").read_text(encoding="utf-8"))
    assert config["training"]["steps"] == 4
    assert (run_folder / "metrics.jsonl").is_file()
    assert (run_folder / "checkpoints" / "best" / "model.json").is_file()
    assert (run_folder / "checkpoints" / "last" / "training.json").is_file()


def test_resuming_a_finished_run_changes_no_weights_and_says_how_to_train_longer(
    saccade: Run, run_folder: Path
) -> None:
    before = snapshot(run_folder / "checkpoints")
    result = saccade("train", "--resume", run_folder)
    assert result.code == 0
    assert "Done: 4 steps" in result.text
    assert "This run had finished before" in result.text
    assert f"saccade train --resume {run_folder} --set training.steps=8\n" in result.text
    assert snapshot(run_folder / "checkpoints") == before


def test_resuming_removes_what_a_killed_process_left(saccade: Run, run_folder: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (run / "data" / "report.json").unlink()  # it was killed while it prepared the text
    before = set(run.rglob("*"))
    for name in ("data/train", "data/.valid", "checkpoints/.best", "checkpoints/.step-2"):
        (run / f"{name}.partial-{gone.pid}").mkdir()
    (run / "data" / f".report.json.partial-{gone.pid}").touch()
    (run / f".metrics.jsonl.partial-{gone.pid}").touch()
    assert saccade("train", "--resume", run).code == 0
    assert not list(run.rglob("*partial*"))
    assert before <= set(run.rglob("*"))


def test_a_run_may_be_a_link_to_a_folder_that_is_still_to_be_made(
    saccade: Run, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").symlink_to("elsewhere/run")
    result = saccade("train", *pair(corpus), "--out", tmp_path / "run", *settings(SMALLEST))
    assert result.code == 0, result.err
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "elsewhere" / "run" / "checkpoints" / "best").is_dir()


def test_a_configuration_file_gives_the_run_its_name(
    saccade: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "numbers.toml"
    config.write_text(
        f'[data]\nsource = "{corpus}/train.en"\ntarget = "{corpus}/train.de"\n'
        f'valid_source = "{corpus}/valid.en"\nvalid_target = "{corpus}/valid.de"\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    result = saccade("train", config, *settings(SMALLEST), "--set", "training.steps=1")
    assert result.code == 0, result.err
    assert "Model: runs/numbers/checkpoints/best\n" in result.text
    assert (tmp_path / "runs" / "numbers" / "checkpoints" / "best" / "model.json").is_file()


def test_resume_takes_settings_that_may_change_and_nothing_else(
    saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    refused(saccade("train", "--resume", run_folder, *pair(corpus)), "--resume", "no other option")
    refused(
        saccade("train", "--resume", run_folder, "--set", "model.width=32"), "model.width: 16 before, 32 now"
    )
    run = shutil.copytree(run_folder, tmp_path / "run")
    result = saccade("train", "--resume", run, "--set", "training.steps=5")
    assert result.code == 0, result.err
    assert "Changed: training.steps: 4 before, 5 now." in result.err
    assert "Done: 5 steps" in result.text and "finished before" not in result.text


def test_resuming_what_is_no_run_is_refused(saccade: Run, tmp_path: Path) -> None:
    refused(saccade("train", "--resume", tmp_path), str(tmp_path), "no run")


def test_a_folder_that_holds_a_run_is_left_alone(process: Run, run_folder: Path, corpus: Path) -> None:
    before = snapshot(run_folder)
    result = process("train", *pair(corpus), "--out", run_folder)
    refused(result, str(run_folder), "already holds a run", f"--resume {run_folder}")
    assert snapshot(run_folder) == before


def test_a_folder_with_other_files_is_left_alone(saccade: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused(saccade("train", *pair(corpus), "--out", tmp_path), str(tmp_path), "not an empty folder")
    assert snapshot(tmp_path) == {"thesis.txt": b"years of work"}


CASES = {
    "no text at all": ([], ["data.source", "--source"]),
    "a side alone": (["--source", "{good}.en"], ["source names 1", "target 0"]),
    "a missing file": (
        ["--source", "{folder}/nowhere.en", "--target", "{good}.de"],
        ["nowhere.en", "no such file"],
    ),
    "unequal line counts": (
        ["--source", "{good}.en", "--target", "{folder}/short.de"],
        ["300", "2", "short.de"],
    ),
    "an empty corpus": (["--source", "{folder}/empty", "--target", "{folder}/empty"], ["empty"]),
    "bad UTF-8": (
        ["--source", "{folder}/latin1", "--target", "{folder}/latin1"],
        ["latin1: not UTF-8 in 50 of the first 100 lines", "iconv"],
    ),
    "a vocabulary too large": (
        ["--source", "{good}.en", "--target", "{good}.de", "--set", "tokenizer.vocab_size=100000"],
        ["tokenizer.vocab_size = 100000", "at most"],
    ),
    "an unknown key": (
        ["--source", "{good}.en", "--target", "{good}.de", "--set", "training.stepz=3"],
        ["training.stepz = 3", "did you mean training.steps?"],
    ),
    "an unknown section": (["--set", "trainning.steps=3"], ["[trainning]", "[training]"]),
    "an impossible value": (
        ["--source", "{good}.en", "--target", "{good}.de", "--set", "training.steps=-3"],
        ["training.steps = -3", "greater than 0"],
    ),
    "a wrong type": (["--set", "training.steps=many"], ["training.steps", "whole number"]),
    "an impossible combination": (["--set", "model.width=30", "--set", "model.heads=4"], ["30", "4"]),
    "no override": (["--set", "steps"], ["'steps'", "training.steps=2000"]),
    "an unknown preset": (["--preset", "enormous"], ["enormous", "tiny"]),
    "a missing configuration": (["{folder}/nowhere.toml"], ["nowhere.toml"]),
    "no TOML": (["{folder}/broken.toml"], ["broken.toml", "TOML"]),
    "a file where the run should be": (
        ["--source", "{good}.en", "--target", "{good}.de", "--out", "{folder}/short.de"],
        ["short.de", "not an empty folder"],
    ),
}


@pytest.mark.parametrize(
    ("command", "case"),
    [
        (command, case)
        for command in ("train", "check")
        for case, (words, _) in CASES.items()
        if command == "train" or "--out" not in words
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_message(
    command: str, case: str, saccade: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short.de").write_text("eins\nzwei\n", encoding="utf-8")
    (tmp_path / "empty").touch()
    (tmp_path / "latin1").write_bytes(b"caf\xe9\nno accents at all\n" * 50)
    (tmp_path / "broken.toml").write_text("[data\n", encoding="utf-8")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    words, parts = CASES[case]
    files = {"good": corpus / "train", "folder": tmp_path}
    result = saccade(command, *[word.format(**files) for word in words])
    if case == "no text at all" and command == "check":
        parts = parts[:1]
    refused(result, *parts)
    assert (tmp_path / "short.de").read_text(encoding="utf-8") == "eins\nzwei\n"


def test_a_newcomers_mistakes_end_a_real_process_with_2(process: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n", encoding="utf-8")
    words = arguments(
        "train", "--source", tmp_path / "a", "--target", tmp_path / "b", "--out", tmp_path / "run"
    )
    refused(process(*words), f"{tmp_path / 'b'}: no such file.")


def test_a_full_disk_stops_training_with_a_message(process: Run, corpus: Path, tmp_path: Path) -> None:
    def small_files() -> None:
        # A limit on the size of files is what an ordinary user can set up; no file may pass 100 kB.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = process(
        "train", *pair(corpus), "--out", tmp_path / "run", *settings(SMALLEST), "--set", "model.width=128",
        prepare=small_files,
    )  # fmt: skip
    assert result.code == 2
    assert "cannot write" in result.err
    assert "Traceback" not in result.err


def test_check_reports_and_leaves_no_trace(
    saccade: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = saccade("check", *pair(corpus), "--preset", "tiny")
    assert result.code == 0
    assert tomllib.loads(result.text.partition("\ntraining:")[0])["training"]["steps"] == 20_000
    assert "training: 300 pairs read, 294 kept, 6 held out" in result.text
    assert " parameters\n" in result.text
    assert "Warning: only 6 validation pairs" in result.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_several_processes_report_a_wrong_configuration_once(corpus: Path, tmp_path: Path) -> None:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "saccade", "train"]
    done = subprocess.run(
        [sys.executable, *words, *pair(corpus), "--set", "training.stepz=3", "--out", str(tmp_path / "run")],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    errors = done.stderr.decode("utf-8")
    assert done.returncode != 0
    assert errors.count("Error: training.stepz = 3: no such setting; did you mean training.steps?") == 1
    assert "saccade/commands" not in errors, "a traceback of ours"
    assert not list(tmp_path.iterdir())
