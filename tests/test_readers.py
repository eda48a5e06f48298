"""What every kind of model that reads can do: configuration, report, resume, 16 bits, use, and refusals.

Each test runs over all readers of `tests/readers/`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from saccade.__main__ import app
from saccade.errors import UserError
from saccade.model_folder.checkpoint import read_tensors
from saccade.models import KINDS
from saccade.models.families import LanguageModel, TranslationModel
from saccade.runs.experiment import check, read_experiment, resume_run, start_run
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from tests.readers import READERS
from tests.trained import EVERYTHING, UPDATES, Trained, lines_of

every_reader = pytest.mark.parametrize("name", READERS)
OTHERS = {"tagger", "bert-classifier", "frame-classifier", "ranker, fields", "ranker, history"}
every_reader_in_turn = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in OTHERS else []) for name in READERS]
)
"""For tests that train more than once: `make test-slow` adds what differs least from another reader."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)  # nothing here outlives a loss of power
        yield Trained(tmp_path_factory.mktemp("readers"))
    torch.set_num_threads(threads)


def test_every_kind_that_reads_is_here() -> None:
    reading = {
        name for name, kind in KINDS.items() if not issubclass(kind.family, TranslationModel | LanguageModel)
    }
    assert {reader.kind for reader in READERS.values()} == reading


# --- before training -----------------------------------------------------------------------------


@every_reader
@pytest.mark.parametrize("section", ["data", "tokenizer", "model", "training", "validation", "decoding"])
def test_a_setting_that_does_not_exist_is_refused_by_name(name: str, section: str) -> None:
    with pytest.raises(UserError) as caught:
        read_experiment(overrides=[f"model.kind={READERS[name].kind}", f"{section}.bogus=1"])
    assert f"{section}.bogus = 1: no such setting" in str(caught.value)


@every_reader
def test_the_report_names_both_sets_and_what_it_says_is_written_beside_the_data(
    trained: Trained, tmp_path: Path, name: str
) -> None:
    plan = read_experiment(overrides=trained.settings(name))
    summary = check(plan, tmp_path / "one").summary()
    assert summary[0].startswith("training") and any(line.startswith("validation") for line in summary)
    assert check(plan, tmp_path / "two").summary() == summary
    one, two = ((tmp_path / part / "report.json").read_text() for part in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("name", ["tagger", "bert-tagger", "classifier", "frame-classifier"])
def test_a_label_that_only_the_test_file_has_hinders_no_training(
    trained: Trained, tmp_path: Path, name: str
) -> None:
    refusal, file = READERS[name].unknown, trained.data(name) / f"test{READERS[name].ending}"
    assert refusal is not None
    file.write_text(refusal.text)
    plan = read_experiment(overrides=[*trained.settings(name), f"data.test_text={file}"])
    assert any(line.startswith("test") for line in check(plan, tmp_path / "data").summary())


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, reader in READERS.items() for n in range(len(reader.wrong))]
)
def test_a_training_file_that_is_wrong_is_refused_with_its_place(
    trained: Trained, tmp_path: Path, name: str, number: int
) -> None:
    refusal, file = READERS[name].wrong[number], trained.data(name) / f"wrong{READERS[name].ending}"
    file.write_text(refusal.text)
    plan = read_experiment(overrides=[*trained.settings(name), f"data.text={file}"])
    with pytest.raises(UserError) as caught:
        start_run(plan, tmp_path / "run", Group())
    assert refusal.message.replace("FILE", str(file)) in str(caught.value)
    assert "\n" not in str(caught.value).strip()
    assert not (tmp_path / "run").exists()


# --- training ------------------------------------------------------------------------------------


@every_reader
def test_every_validation_measures_what_the_kind_is_for(trained: Trained, name: str) -> None:
    run, reader = trained.run(name), READERS[name]
    validations = lines_of(run, "valid")
    assert [line["step"] for line in validations] == [2, 4]
    assert all(line.keys() >= {"loss", *reader.metrics} for line in validations)
    assert [line["step"] for line in lines_of(run, "train")] == [1, 2, 3, 4]


@every_reader_in_turn
def test_stopped_and_resumed_it_is_the_same_run_to_the_bit(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = trained.run(name)
    update, calls = EagerStep.__call__, iter(range(1, 100))

    def stopping(self: EagerStep, shares: Any, *, rate: float) -> Any:
        if next(calls) == 4:  # an update behind the last checkpoint
            raise RuntimeError("the power fails")
        return update(self, shares, rate=rate)

    with monkeypatch.context() as patched:
        patched.setattr(EagerStep, "__call__", stopping)
        with pytest.raises(RuntimeError, match="the power fails"):
            trained.train(name, "cut", *EVERYTHING, *UPDATES)
    cut = trained.data(name) / "cut"
    assert (cut / "checkpoints" / "last" / "training.json").exists()
    resume_run(cut, Group())
    for checkpoint in ("last", "best", "average"):
        expected, got = (
            read_tensors(run / "checkpoints" / checkpoint / "model.safetensors") for run in (whole, cut)
        )
        assert expected.keys() == got.keys()
        assert all(torch.equal(tensor, got[key]) for key, tensor in expected.items())
    for kind in ("train", "valid"):
        one, other = lines_of(whole, kind), lines_of(cut, kind)
        assert [line["loss"] for line in one] == [line["loss"] for line in other]


@every_reader_in_turn
def test_sixteen_bits_train_and_nearly_agree_with_thirty_two(trained: Trained, name: str) -> None:
    settings = ("model.dropout=0", "training.steps=2", "training.warmup=0", "validation.every=2")
    runs = {
        precision: trained.train(name, precision, *settings, f"training.precision={precision}")
        for precision in ("float32", "bfloat16")
    }
    losses = {precision: [one["loss"] for one in lines_of(run, "train")] for precision, run in runs.items()}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert losses["bfloat16"] != losses["float32"]
    weights = read_tensors(runs["bfloat16"] / "checkpoints" / "last" / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


@every_reader
def test_checkpoints_hold_no_pickles(trained: Trained, name: str) -> None:
    files = [path for path in (trained.run(name) / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".model", ""}
    assert all(path.name == "SHA256SUMS" for path in files if not path.suffix)
    assert not any(path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK") for path in files)


# --- use -----------------------------------------------------------------------------------------


def flat(value: Any) -> list[Any]:
    """The values of nested lists and objects, in order."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in (key, *flat(inner))]
    return [one for inner in value for one in flat(inner)] if isinstance(value, list | tuple) else [value]


def alike(one: Any, other: Any) -> bool:
    """Whether two predictions differ in rounding alone."""
    pairs = zip(flat(one.as_dict()), flat(other.as_dict()), strict=True)
    return all(a == (pytest.approx(b, rel=1e-4, abs=1e-5) if isinstance(b, float) else b) for a, b in pairs)


@every_reader
def test_an_item_has_the_prediction_that_it_has_among_others(trained: Trained, name: str) -> None:
    predictor, given = trained.load(name)
    items = list(predictor.read(given, answers=False))
    together = predictor.run(items)
    assert len(items) > 3 and all(found.problem is None for found in together)
    for item, found in zip(items, together, strict=True):
        [alone] = predictor.run([item])
        assert alike(alone, found)


@every_reader
def test_the_command_line_says_what_the_library_says(
    trained: Trained, capsysbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    predictor, given = trained.load(name)
    found = predictor.run(list(predictor.read(given, answers=False)))
    assert isinstance(predictor, getattr(saccade, type(predictor).__name__))

    def printed(*words: object) -> str:
        app(["predict", str(trained.run(name)), *map(str, words)], standalone_mode=False)
        return capsysbinary.readouterr().out.decode()

    assert printed(given) == "".join(f"{line}\n" for one in found for line in one.lines())
    objects = [json.loads(line) for line in printed(given, "--json").splitlines()]
    assert objects == [json.loads(json.dumps(one.as_dict())) for one in found]
    if (scored := READERS[name].scored) is not None:
        answers = trained.data(name) / READERS[name].file("valid")
        assert printed(answers, "--score").startswith(scored)
        assert isinstance(json.loads(printed(answers, "--score", "--json")), dict)


@every_reader
def test_rows_of_recorded_attention_sum_to_1(trained: Trained, name: str) -> None:
    predictor, _ = trained.load(name)
    reader = READERS[name]
    record = predictor.inspect(reader.shown(trained.data(name) / reader.file("valid")))
    assert record.maps
    for one in record.maps:
        rows = one.weights.float().sum(-1)
        torch.testing.assert_close(rows, torch.ones_like(rows))


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.unknown])
def test_an_answer_that_the_model_cannot_give_is_refused_when_it_is_scored(
    trained: Trained, name: str
) -> None:
    predictor, _ = trained.load(name)
    refusal = READERS[name].unknown
    assert refusal is not None
    file = trained.data(name) / f"unknown{READERS[name].ending}"
    file.write_text(refusal.text)
    with pytest.raises(UserError) as caught:
        predictor.score(predictor.read(file, answers=True))
    assert refusal.message.replace("FILE", str(file)) in str(caught.value)


# --- what a run starts from ----------------------------------------------------------------------


def start(trained: Trained, name: str, run: Path, *settings: str) -> Path:
    """A run of one update, whose model and vocabulary the settings give."""
    own = [one for one in trained.settings(name) if one.startswith(("data.", "training.batch"))]
    plan = read_experiment(overrides=[*own, "training.steps=1", "training.warmup=0", *settings])
    start_run(plan, run, Group())
    return run


@every_reader_in_turn
def test_a_run_can_go_on_with_a_model(trained: Trained, tmp_path: Path, name: str) -> None:
    settings = (f"training.init_from={trained.run(name)}", "training.peak_rate=1e-9")
    run = start(trained, name, tmp_path / "run", *settings)
    before, after = (
        read_tensors(one / "checkpoints" / which / "model.safetensors")
        for one, which in ((trained.run(name), "best"), (run, "last"))
    )
    for key, tensor in before.items():
        torch.testing.assert_close(after[key], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pointer", "this is a pointer network, which answers with positions of its inputs; name a model"),
        ("ranker, list", "this is a ranker, which scores the rows of a table; name a model whose encoder"),
        ("frame-classifier", "this is a classifier of pictures, sounds or arrays; name a model whose"),
        ("tagger, crf", "the encoder of a model of kind tagger does not fit one of kind bert-classifier"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    trained: Trained, tmp_path: Path, source: str, message: str
) -> None:
    settings = (f"training.encoder_from={trained.run(source)}", "model.kind=bert-classifier")
    with pytest.raises(UserError) as caught:
        start(trained, "bert-classifier", tmp_path / "run", *settings)
    assert message in str(caught.value)


def test_an_encoder_brings_no_labels(trained: Trained, tmp_path: Path) -> None:
    settings = (f"training.encoder_from={trained.run('bert-tagger')}", "model.kind=bert-classifier")
    run = start(trained, "bert-classifier", tmp_path / "run", *settings)
    assert saccade.load(run, device="cpu").tokenizer.labels == ("X", "Y")
