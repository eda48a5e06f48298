"""A run is resumed with what it was trained with: changes that it may have are made, others are named."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import ConfigError, Conflict, DamagedFile, InputError, UserError
from saccade.model_folder.checkpoint import read_json, read_tensors, write_json, write_tensors
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.run_lock import owned
from tests.training.conftest import write_corpus
from tests.training.drive import TINY


class StopError(Exception):
    """Ends a run in the middle of an update."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and `run`, which has done 2 of 4 updates."""
    folder = tmp_path_factory.mktemp("resuming")
    write_corpus(folder, 80)
    files = [f"data.source={folder / 'train.en'}", f"data.target={folder / 'train.de'}", "data.holdout=8"]
    plan = read_experiment(
        overrides=[*files, *TINY, "training.steps=4", "training.save_every=2", "validation.every=2"]
    )
    with stopping_at(3), pytest.raises(StopError):
        start_run(plan, folder / "run", Group())
    return folder


@contextlib.contextmanager
def stopping_at(step: int) -> Iterator[None]:
    """Lets update `step` of this process fail within the block."""
    update, calls = EagerStep.__call__, iter(range(1, 1000))

    def stopping(self: EagerStep, *arguments: Any, **options: Any) -> Any:
        if next(calls) == step:
            raise StopError
        return update(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EagerStep, "__call__", stopping)
        yield


@pytest.fixture
def run(places: Path, tmp_path: Path) -> Iterator[Path]:
    texts = {name: (places / name).read_bytes() for name in ("train.en", "train.de")}
    yield Path(shutil.copytree(places / "run", tmp_path / "run"))
    for name, text in texts.items():
        (places / name).write_bytes(text)


def edit(run: Path, before: str, after: str) -> None:
    config = run / "config.toml"
    text = config.read_text(encoding="utf-8")
    assert before in text
    config.write_text(text.replace(before, after), encoding="utf-8")


def refused(run: Path, *overrides: str) -> str:
    """The message; nothing in the folder has changed."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as caught:
        resume_run(run, Group(), overrides=overrides)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return str(caught.value)


FIXED = {
    "training.seed": 2,
    "training.batch_tokens": 300,
    "training.accumulate": 2,
    "training.ema": 0.5,
    "training.label_smoothing": 0.3,
    "training.optimizer": "adamw",
    "training.weight_decay": 0.1,
    "training.betas": [0.8, 0.9],
    "training.epsilon": 1e-5,
    "model.width": 32,
    "model.dropout": 0.3,
    "model.encoder_layers": 2,
    "model.norm": "pre",
    "tokenizer.vocab_size": 70,
    "data.max_length": 100,
    "data.holdout": 9,
    "data.max_ratio": 3.0,
    "validation.metric": "chrf",
    "validation.beam": 2,
    "validation.max_sentences": 3,
    "decoding.alpha": 0.9,
}


def test_a_setting_that_a_run_keeps_is_refused_by_name_with_both_values(run: Path) -> None:
    before = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    for key, value in FIXED.items():
        section, _, name = key.partition(".")
        message = refused(run, f"{key}={json.dumps(value)}")
        old = before[section].get(name)
        shown = "unset" if old is None else json.dumps(old)
        assert f"{key}: {shown} before, {json.dumps(value)} now" in message, key
        assert "training.steps" in message, "what may change"


def test_a_width_that_was_edited_by_hand_is_no_damage(run: Path) -> None:
    edit(run, "width = 16", "width = 32")
    message = refused(run)
    assert "model.width: 16 before, 32 now" in message
    assert "damaged" not in message
    # Runs of earlier versions do not have their settings beside the checkpoint.
    state = run / "checkpoints" / "last" / "training.json"
    write_json(state, {"counters": read_json(state)["counters"]})
    assert "model.width: 16 before, 32 now" in refused(run)


def test_a_setting_that_may_change_is_changed_and_written_down(run: Path) -> None:
    said: list[str] = []
    settings = ["training.steps=6", "validation.patience=9", "training.peak_rate=1e-4", "validation.every=3"]
    counters = resume_run(run, Group(), overrides=settings, say=said.append)
    assert counters.step == 6 and counters.finished
    assert "Changed: training.steps: 4 before, 6 now." in said
    assert sum(line.startswith("Changed: ") for line in said) == 4
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert config["training"]["steps"] == 6 and config["validation"]["patience"] == 9
    said.clear()
    assert resume_run(run, Group(), say=said.append).step == 6
    assert not any(line.startswith("Changed: ") for line in said)


def test_fewer_steps_than_are_done_are_refused(run: Path) -> None:
    assert "the run has done 2 updates" in refused(run, "training.steps=1")


@pytest.mark.parametrize("side", ["en", "de"])
def test_text_that_changed_is_refused_and_touched_text_is_not(places: Path, run: Path, side: str) -> None:
    text = places / f"train.{side}"
    os.utime(text, ns=(1, 1))
    resume_run(Path(shutil.copytree(run, run.with_name("touched"))), Group())
    text.write_bytes(text.read_bytes().replace(b"e", b"a", 1))
    with pytest.raises(InputError, match=rf"train\.{side}: changed since"):
        resume_run(run, Group())
    # Neither does it help to prepare the text again.
    shutil.rmtree(run / "data")
    with pytest.raises(InputError, match=rf"other text than is prepared now: train\.{side} changed"):
        resume_run(run, Group())


def test_without_the_original_text_the_prepared_one_serves(places: Path, run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    moved = [(places / f"train.{side}").rename(tmp_path / f"moved.{side}") for side in ("en", "de")]
    resume_run(Path(shutil.copytree(run, run.with_name("other"))), Group(), say=said.append)
    assert any("train.en" in line and "not there any more" in line for line in said)
    names = [f"data.{side}={path}" for side, path in zip(("source", "target"), moved, strict=True)]
    assert resume_run(run, Group(), overrides=names).finished


def test_before_the_first_checkpoint_everything_but_the_text_may_change(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert "data.max_length" in refused(run, "data.max_length=99")
    assert resume_run(run, Group(), overrides=["training.batch_tokens=300", "model.width=8"]).finished


def test_a_run_that_is_being_trained_is_neither_resumed_nor_started_again(places: Path, run: Path) -> None:
    files = [f"data.source={places / 'train.en'}", f"data.target={places / 'train.de'}"]
    with owned(run, Group()), pytest.raises(Conflict, match="is training this run"):
        resume_run(run, Group())
    with owned(run.with_name("new"), Group()), pytest.raises(Conflict, match="is training this run"):
        start_run(read_experiment(overrides=[*files, *TINY]), run.with_name("new"), Group())


def test_a_tampered_list_deletes_nothing_outside_the_run(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "model.json").write_text("precious")
    state = run / "checkpoints" / "last" / "training.json"
    content = read_json(state)
    for kept in (["x/../../../victim"], ["../../victim"], [str(victim)], [-1], [1.5]):
        write_json(state, {**content, "counters": {**content["counters"], "kept": kept}})
        with pytest.raises(DamagedFile, match="kept"):
            resume_run(run, Group())
    assert (victim / "model.json").read_text() == "precious"


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/best", "checkpoints/last", "data"])
def test_a_link_in_a_run_is_not_followed(run: Path, tmp_path: Path, name: str) -> None:
    real = (run / name).rename(tmp_path / "elsewhere")
    before = sorted(path.name for path in real.rglob("*"))
    (run / name).symlink_to(real)
    with pytest.raises(DamagedFile, match="a symbolic link"):
        resume_run(run, Group(), overrides=["validation.metric=bleu", "training.steps=8"])
    assert sorted(path.name for path in real.rglob("*")) == before


def test_settings_that_a_tampered_state_holds_are_validated(run: Path) -> None:
    state = run / "checkpoints" / "last" / "training.json"
    content = read_json(state)
    for settings in (3, {"model": 3}, {"training": {"steps": "x"}}, {"luck": {}}, {"model": {"kind": []}}):
        write_json(state, {**content, "settings": settings})
        with pytest.raises(DamagedFile, match=r"training\.json: damaged"):
            resume_run(run, Group())


def test_an_optimisers_state_of_another_shape_is_refused(run: Path) -> None:
    file = run / "checkpoints" / "last" / "training.safetensors"
    tensors = read_tensors(file)
    name = next(name for name in tensors if name.endswith("/exp_avg"))
    write_tensors(file, {**tensors, name: torch.zeros(3, 5)})
    best = (run / "checkpoints" / "best" / "model.safetensors").read_bytes()
    with pytest.raises(DamagedFile, match=f"{name} is \\[3, 5\\]"):
        resume_run(run, Group())
    assert (run / "checkpoints" / "best" / "model.safetensors").read_bytes() == best


def test_a_model_that_does_not_fit_into_memory_gives_its_folder_back(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")

    files = [f"data.source={places / 'train.en'}", f"data.target={places / 'train.de'}", "data.holdout=8"]
    plan = read_experiment(overrides=[*files, *TINY, "training.steps=1"])
    with monkeypatch.context() as patch:
        patch.setattr("saccade.runs.experiment.build_model", lacking)
        with pytest.raises(UserError, match="out of memory"):
            start_run(plan, tmp_path / "runs" / "first", Group())
    assert not (tmp_path / "runs").exists()
    with monkeypatch.context() as patch:
        patch.setattr(EagerStep, "__call__", lacking)
        with pytest.raises(UserError, match="out of memory"):
            start_run(plan, tmp_path / "run", Group())
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    assert start_run(plan, tmp_path / "run", Group()).finished  # nothing was trained, so it is still free
    assert resume_run(tmp_path / "again", Group()).finished


def test_validation_text_of_other_lines_than_were_encoded_is_refused(run: Path) -> None:
    with (run / "data" / "valid.source").open("a", encoding="utf-8") as text:
        text.write("one more\n")
    with pytest.raises(DamagedFile, match=r"valid\.source"):
        resume_run(run, Group())


def test_a_configuration_that_is_none_is_refused(run: Path) -> None:
    (run / "config.toml").write_text("training = 3\n")
    with pytest.raises(ConfigError):
        resume_run(run, Group())
