"""saccade attention: a page, its data or a picture of what the model looked at."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from saccade.model_folder.checkpoint import save_model
from tests.commands.conftest import Run, refused
from tests.inspection.records import model_at_once, reader

PNG = b"\x89PNG\r\n"


def records(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["records"]
    return found


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "reader"
    save_model(folder, reader("transformer-xl").model)
    return folder


def test_a_picture_is_drawn_for_the_translation_or_a_given_one(
    saccade: Run, run_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    result = saccade("attention", run_folder, "forty-two", "--out", tmp_path / "own.png")
    assert result.code == 0, result.err
    assert len(result.lines) == 1
    assert (tmp_path / "own.png").read_bytes().startswith(PNG)
    result = saccade(
        "attention", run_folder, "forty-two", "--target", "zweiundvierzig", "-o", tmp_path / "given.svg"
    )
    assert result.out == b""
    assert b"<svg" in (tmp_path / "given.svg").read_bytes()
    (tmp_path / "link.png").symlink_to("own.png")
    (tmp_path / "own.png").write_bytes(b"older")
    assert saccade("attention", run_folder, "forty-two", "--out", tmp_path / "link.png").code == 0
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "own.png").read_bytes().startswith(PNG)
    (tmp_path / "full.pdf").symlink_to("/dev/full")
    result = saccade("attention", run_folder, "forty-two", "--out", tmp_path / "full.pdf")
    refused(result, "full.pdf: cannot write: the disk is full")


def test_a_page_and_its_data_are_written_and_the_translation_is_printed(
    saccade: Run, run_folder: Path, tmp_path: Path
) -> None:
    [expected] = saccade("translate", run_folder, stdin=b"forty-two\n").lines
    for name in ("one.html", "one.json", "one.npz"):
        result = saccade("attention", run_folder, "forty-two", "-o", tmp_path / name)
        assert result.code == 0, result.err
        assert result.lines == [expected]
    [record] = records(tmp_path / "one.json")
    assert record["output"] == expected and record["name"] == run_folder.name and not record["given"]
    assert (tmp_path / "one.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    given = saccade("attention", run_folder, "forty-two", "--target", "zwei", "-o", tmp_path / "two.json")
    assert given.out == b"" and records(tmp_path / "two.json")[0]["given"]


def test_texts_models_and_checkpoints_stand_side_by_side(
    saccade: Run, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    assert saccade("attention", run_folder, "forty-two", "forty", "-o", out).code == 0
    assert [one["name"] for one in records(out)] == ["forty-two", "forty"]
    other = tmp_path / "other"
    shutil.copytree(run_folder / "checkpoints" / "last", other)
    assert saccade("attention", run_folder, "forty-two", "--compare", other, "-o", out).code == 0
    first, second = records(out)
    assert (first["name"], second["name"]) == (run_folder.name, "other")
    assert first["tokens"]["target"] == second["tokens"]["target"] and second["given"]
    assert saccade("attention", run_folder, "forty-two", "--checkpoints", "-o", out).code == 0
    names = [one["name"] for one in records(out)]
    assert len(names) == 2 and names[0].endswith("(best)") and names[1].endswith("(last)")
    assert len({json.dumps(one["tokens"]) for one in records(out)}) == 1


def test_models_that_write_at_once_show_their_own_translations_side_by_side(
    saccade: Run, tmp_path: Path
) -> None:
    for seed in (0, 1):
        save_model(tmp_path / f"ctc-{seed}", model_at_once("ctc", seed=seed))
    out = tmp_path / "out.json"
    done = saccade("attention", tmp_path / "ctc-0", "the dog", "--compare", tmp_path / "ctc-1", "-o", out)
    assert done.code == 0, done.err
    shown = records(out)
    assert [one["given"] for one in shown] == [False, False]
    for one in shown:
        assert one["written"] == "output" and len(one["slots"]) == len(one["log_probs"])
        assert [row["method"] for row in one["attributions"]] == ["gradient", "erasure"]
    refused(
        saccade("attention", tmp_path / "ctc-0", "the dog", "--target", "a cat", "-o", out),
        "does not depend on the target",
    )


def test_a_language_model_shows_how_it_reads_a_text(
    saccade: Run, language_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "text.json"
    result = saccade("attention", language_model, "the dog sees", "--set", "model.segment=5", "-o", out)
    assert result.code == 0 and result.out == b"", result.err
    [record] = records(out)
    assert record["source"] is None and 0 < len(record["tokens"]["target"]["pieces"]) <= 5
    refused(saccade("attention", language_model, "the dog", "--target", "x", "-o", out), "no target")
    refused(saccade("attention", language_model, "the dog", "-o", tmp_path / "a.png"), "write a .html")
    refused(saccade("attention", language_model, "the dog", "--beam", "2", "-o", out), "beam")


def test_input_that_cannot_be_shown_is_one_clear_message(
    saccade: Run, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.html"
    refused(saccade("attention", run_folder, " ", "-o", out), "the text is empty")
    refused(saccade("attention", run_folder, "one " * 2000, "-o", out), "at most 256 can be shown")
    refused(saccade("attention", run_folder, "one", "--set", "model.segment=5", "-o", out), "[model]")
    refused(saccade("attention", run_folder / "data", "one", "--checkpoints", "-o", out), "data")
    refused(
        saccade("attention", run_folder, "one", "--checkpoints", "--compare", run_folder, "-o", out),
        "leave the second model out",
    )
    damaged = tmp_path / "damaged"
    shutil.copytree(run_folder / "checkpoints" / "best", damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(saccade("attention", damaged, "one", "-o", out), "model.safetensors")
    assert not out.exists()


def test_other_endings_and_a_missing_matplotlib_are_refused_before_the_model_is_read(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(saccade("attention", tmp_path, "one", "--out", tmp_path / "maps.txt"), "maps.txt", ".html, ")
    refused(
        saccade("attention", tmp_path, "one", "--out", tmp_path / "no" / "a.html"),
        "No such file or directory",
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(saccade("attention", tmp_path, "one", "-o", tmp_path / "a.png"), "pip install", "[plot]'")


def test_a_picture_shows_one_sentence(saccade: Run, run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    refused(saccade("attention", run_folder, "one", "two", "-o", tmp_path / "a.png"), "one sentence")
    refused(saccade("attention", run_folder, " ", "-o", tmp_path / "a.png"), "the text is empty")
