"""Training that goes on from another model, imported ones included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.model_folder.checkpoint import load_model, save_model
from saccade.runs.experiment import check, read_experiment, resume_run, start_run
from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.numbers import write_corpus
from saccade.training.distributed import process_group
from tests.tiny import model

SETTINGS = [
    "data.holdout=4",
    "training.batch_tokens=400",
    "training.warmup=1",
    "validation.every=2",
    "decoding.max_length=30",
]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of tests.tiny, whose vocabulary knows other text."""
    folder = tmp_path_factory.mktemp("first") / "model"
    save_model(folder, model(dtype=torch.float32, norm="pre"))
    return folder


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("numbers")
    write_corpus(folder, train=40, valid=1, test=1)
    return {"source": str(folder / "train.en"), "target": str(folder / "train.de")}


def plan(first: Path, data: dict[str, Any], *overrides: str) -> Any:
    tables = {"data": data, "training": {"init_from": str(first)}}
    return read_experiment(tables=tables, overrides=[*SETTINGS, *overrides])


def run(experiment: Any, folder: Path) -> None:
    with process_group() as group:
        start_run(experiment, folder, group)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(folder).network.state_dict())


def test_it_starts_where_the_model_stands(first: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    overrides = ["training.steps=1", "training.peak_rate=1e-12", "validation.every=1"]
    run(plan(first, numbers, *overrides), tmp_path / "run")
    before, after = weights(first), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-9) for name in before)


def test_vocabulary_and_settings_are_the_models(first: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    run(plan(first, numbers, "training.steps=2", "model.dropout=0.25"), tmp_path / "run")
    before, after = load_model(first), load_model(tmp_path / "run")
    assert after.tokenizer.encode_source(["the dog"]) == before.tokenizer.encode_source(["the dog"])
    assert after.config.model_dump() == {**before.config.model_dump(), "dropout": 0.25}
    assert len(after.provenance["init_from"]) == 64
    text = (tmp_path / "run" / "config.toml").read_text()
    assert f'init_from = "{first}"' in text and "[tokenizer]" not in text


def test_resumed_without_the_first_model_it_is_the_same_run(
    first: Path, numbers: dict[str, Any], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    save_model(own, load_model(first))
    run(plan(own, numbers, "training.steps=4"), tmp_path / "whole")
    run(plan(own, numbers, "training.steps=2"), tmp_path / "cut")
    config = tmp_path / "cut" / "config.toml"
    config.write_text(config.read_text().replace("steps = 2", "steps = 4"))
    own.rename(tmp_path / "gone")
    with process_group() as group:
        resume_run(tmp_path / "cut", group)
    whole, cut = (weights(tmp_path / name / "checkpoints" / "last") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    [one, other] = (load_model(tmp_path / name).provenance["init_from"] for name in ("whole", "cut"))
    assert one == other


def test_text_that_the_vocabulary_covers_badly_is_reported(
    first: Path, numbers: dict[str, Any], tmp_path: Path
) -> None:
    chinese = tmp_path / "text.zh"
    chinese.write_text("".join(f"第{number}句话。\n" for number in range(100, 140)), encoding="utf-8")
    report: Any = check(plan(first, {**numbers, "target": str(chinese)}), tmp_path / "data")
    assert report.train.target.byte_share > 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=64", r"model.width = 64: this, which is 12, comes from training.init_from"),
        ("model.preset=tiny", "model.preset = tiny: this comes from"),
        ("tokenizer.vocab_size=100", r"\[tokenizer\]: the vocabulary comes from"),
        ("training.init_from=nowhere", "nowhere: no such model folder"),
    ],
)
def test_what_the_model_settles_cannot_be_set(
    first: Path, numbers: dict[str, Any], override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan(first, numbers, override)


@pytest.mark.slow
def test_an_imported_model_learns_new_text(tmp_path: Path, numbers: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    from saccade.interop.importing import import_folder
    from tests.interop.published import many, opus

    opus(tmp_path / "opus")
    many(tmp_path / "many")
    save_model(tmp_path / "first-opus", import_folder(tmp_path / "opus").model)
    languages = {"source_language": "en", "target_language": "de"}
    save_model(tmp_path / "first-many", import_folder(tmp_path / "many", **languages).model)
    for name in ("opus", "many"):
        overrides = ["training.steps=30", "training.peak_rate=3e-3", "validation.every=10"]
        run(plan(tmp_path / f"first-{name}", numbers, *overrides), tmp_path / f"run-{name}")
        losses = [
            float(line.split('"loss": ')[1].split(",")[0])
            for line in (tmp_path / f"run-{name}" / "metrics.jsonl").read_text().splitlines()
            if '"valid"' in line
        ]
        assert losses[-1] < losses[0]
    tokenizer = load_model(tmp_path / "run-many").tokenizer
    assert isinstance(tokenizer, ManyLanguagesTokenizer)
    assert tokenizer.config.target_language == "de"
