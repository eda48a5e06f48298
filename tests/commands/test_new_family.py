"""A family whose source is numbers is files of its own and four lines in tables; everything works with it."""

from __future__ import annotations

import json
import os
import random
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade as toolkit
from saccade.model_folder.checkpoint import read_tensors
from saccade.models import KINDS, Kind
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.tasks import TASKS
from saccade.text.tokenizer import PREPROCESSORS
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.use.loading import USES
from tests.commands.conftest import Run, refused, settings
from tests.meter import PRESETS, Meter, MeterConfig, Metering, MeterReader, Scale

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Readings, whose meaning is their mean; and the four lines."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setitem(KINDS, "meter", Kind(MeterConfig, Meter, PRESETS, Meter))
    monkeypatch.setitem(TASKS, Meter, Metering())
    monkeypatch.setitem(USES, Meter, MeterReader)
    monkeypatch.setitem(PREPROCESSORS, Scale.kind, Scale.load)
    generator = random.Random(1)
    for split, count in (("train", 60), ("valid", 8)):
        rows = [[generator.uniform(0, 9) for _ in range(generator.randint(1, 5))] for _ in range(count)]
        lines = (f"{' '.join(map(str, row))}\t{sum(row) / len(row)}\n" for row in rows)
        (tmp_path / f"{split}.tsv").write_text("".join(lines))
    return tmp_path


def words(folder: Path) -> list[str]:
    return [
        *(f"data.text={folder / 'train.tsv'}", f"data.valid_text={folder / 'valid.tsv'}"),
        *("model.kind=meter", "tokenizer.unit=9", "training.batch_tokens=60", "training.warmup=2"),
        *("training.steps=40", "validation.every=10", "training.peak_rate=2e-2", "training.save_every=20"),
    ]


def test_it_is_trained_resumed_to_the_bit_loaded_and_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    plan = read_experiment(overrides=words(folder))
    start_run(plan, folder / "whole", Group())
    update, calls = EagerStep.__call__, iter(range(100))

    def stopping(self: EagerStep, shares: Any, *, rate: float) -> Any:
        if next(calls) == 25:
            raise RuntimeError("the power fails")
        return update(self, shares, rate=rate)

    with monkeypatch.context() as patched:
        patched.setattr(EagerStep, "__call__", stopping)
        with pytest.raises(RuntimeError, match="the power fails"):
            start_run(plan, folder / "cut", Group())
    resume_run(folder / "cut", Group())
    one, other = (
        read_tensors(folder / run / "checkpoints" / "last" / "model.safetensors") for run in ("whole", "cut")
    )
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())

    reader = toolkit.load(folder / "cut", device="cpu")
    [found] = reader.run(["3 5 7"])
    assert found.answer == pytest.approx(5, abs=1)
    [record] = [one.weights for one in reader.inspect("3 5 7").maps]
    assert record.sum(-1).flatten().tolist() == pytest.approx([1.0, 1.0])


def test_the_command_line_knows_it(saccade: Run, folder: Path) -> None:
    config = folder / "meter.toml"
    config.write_text(f'[data]\ntext = "{folder / "train.tsv"}"\n[model]\nkind = "meter"\n')
    checked = saccade("check", config)
    assert checked.code == 0 and "training: 60 readings" in checked.text + checked.err
    trained = saccade("train", "--out", folder / "run", *settings(words(folder)))
    assert trained.code == 0, trained.err
    assert f"saccade predict {folder / 'run'}" in trained.text
    assert "meter" in saccade("info", folder / "run").text
    result = saccade("predict", folder / "run", folder / "valid.tsv", "--json")
    assert result.code == 0 and len(result.lines) == 8, result.err
    assert json.loads(result.lines[0]).keys() == {"text", "answer", "problem"}
    page = saccade("attention", folder / "run", "3 5 7", "--out", folder / "a.html")
    assert page.code == 0, page.err
    refused(saccade("translate", folder / "run", folder / "valid.tsv"), "is a meter", "predict")
    (folder / "valid.tsv").write_text("1 2 3\n")
    refused(saccade("train", "--out", folder / "other", *settings(words(folder))), "valid.tsv:1: no tab")
    refused(saccade("train", "--out", folder / "other", "--set", "model.kind=meter"), "no training readings")


@pytest.mark.usefixtures("folder")
def test_the_reference_lists_its_settings() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["reference"]()
    for heading in ('[model] of kind "meter"', "[data] of a meter", "[tokenizer] of a meter"):
        assert f"### {heading}\n" in page
