"""Runs of non-autoregressive models: teacher, labels, student, fine-tuning; resumed as never stopped."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.alignment.fertilities import fertilities
from saccade.errors import Interrupted, UserError
from saccade.model_folder.checkpoint import find_model, read_description, read_tensors
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.text.fertilities import fertilities_line
from saccade.text.reading import read_text
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.use.translator import Translator
from tests.training.conftest import write_corpus
from tests.training.drive import TINY

SIZES = ["model.heads=2", "model.feed_forward=32"]
STUDENT = ["model.kind=nonautoregressive", "model.dropout=0.2", "training.steps=8", "validation.every=4"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.en, train.de, train.fert, and a run `teacher`, all of it small and bad."""
    folder = tmp_path_factory.mktemp("nat")
    write_corpus(folder, 120)
    train(folder, "teacher", "training.steps=4", tokenizer=True)
    translator = Translator.load(folder / "teacher", device="cpu")
    source, target = (read_text(folder / f"train.{side}") for side in ("en", "de"))
    rows = fertilities(translator, source, target)
    (folder / "train.fert").write_text("".join(f"{fertilities_line(row)}\n" for row in rows))
    return folder


def train(folder: Path, name: str, *settings: str, tokenizer: bool = False) -> Path:
    tiny = [setting for setting in TINY if tokenizer or not setting.startswith("tokenizer.")]
    files = [f"data.source={folder / 'train.en'}", f"data.target={folder / 'train.de'}", "data.holdout=20"]
    plan = read_experiment(overrides=[*files, *tiny, *SIZES, *settings])
    start_run(plan, folder / name, Group())
    return folder / name


def student(folder: Path, name: str, decoder: str, *settings: str) -> Path:
    labels = [f"data.fertilities={folder / 'train.fert'}"] if decoder == "fertility" else []
    given = [*STUDENT, f"model.decoder={decoder}", f"training.teacher={folder / 'teacher'}", *labels]
    return train(folder, name, *given, *settings)


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Its one number says before which update of this process Control-C is pressed."""
    when, calls, update = [0], iter(range(1, 1000)), EagerStep.__call__

    def wrapped(self: EagerStep, shares: Any, *, rate: float) -> Any:
        if next(calls) == when[0]:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, shares, rate=rate)

    monkeypatch.setattr(EagerStep, "__call__", wrapped)
    return when


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / name / "model.safetensors")


def losses(run: Path) -> list[tuple[str, int, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["kind"], line["step"], line["loss"]) for line in lines if "loss" in line]


@pytest.mark.parametrize(
    "settings",
    [
        ("fertility", "training.init_encoder=true"),
        ("fertility", "training.fine_tuning=0.25"),
        ("mask-predict",),
        ("ctc", "training.glancing=[1.0, 0.2]"),
        ("dag", "training.glancing=[1.0, 0.2]", "training.precision=bfloat16"),
    ],
    ids=" ".join,
)
def test_stopped_and_resumed_is_the_same_run(
    material: Path, tmp_path: Path, stop: list[int], settings: tuple[str, ...]
) -> None:
    whole = student(material, str(tmp_path / "whole"), *settings)
    stop[0] = 8 + 5
    with pytest.raises(Interrupted):
        student(material, str(tmp_path / "cut"), *settings)
    resume_run(tmp_path / "cut", Group())
    assert losses(whole) == losses(tmp_path / "cut")
    assert all(value == value for _, _, value in losses(whole))
    for name in ("last", "best"):
        own, other = weights(whole, name), weights(tmp_path / "cut", name)
        assert all(torch.equal(tensor, other[key]) for key, tensor in own.items())


@pytest.mark.parametrize("decoder", ["fertility", "mask-predict", "ctc", "dag"])
def test_a_student_translates_alone_as_in_bulk_and_can_be_looked_at(
    material: Path, tmp_path: Path, decoder: str
) -> None:
    run = student(material, str(tmp_path / "run"), decoder, "training.steps=2")
    teacher = material / "teacher" if decoder == "fertility" else None
    translator = Translator.load(run, device="cpu", reranker=teacher)
    lines = ["", *read_text(material / "train.en")[90:96]]
    ways: list[dict[str, Any]] = [{}]
    if decoder != "ctc":
        ways += [{"candidates": 4}]
    for way in ways:
        together = translator.translate(lines, **way)
        alone = [translator.translate([line], first_line=n, **way)[0] for n, line in enumerate(lines)]
        assert [one.text for one in together] == [one.text for one in alone]
        assert together[0].text == ""
    [found] = translator.translate(lines[1:2], attention=True)
    assert found.attention is not None
    source, target = translator.pieces(lines[1], found.text)
    again = translator.attention(lines[1], found.text)
    assert [one.kind for one in again] == [one.kind for one in found.attention]
    # A bad model's text may be cut into other pieces than it was written with.
    written = target if decoder in ("ctc", "dag") else found.tokens
    for maps, length in ((found.attention, len(written)), (again, len(target))):
        cross = [one.weights for one in maps if one.kind == "cross"]
        assert cross and all(weights.shape[1:] == (length, len(source)) for weights in cross)


def test_a_student_takes_its_teachers_pieces_and_encoder(material: Path, tmp_path: Path) -> None:
    run = student(
        material, str(tmp_path / "run"), "fertility", "training.init_encoder=true", "training.peak_rate=1e-20"
    )
    own, theirs = weights(run), read_tensors(find_model(material / "teacher") / "model.safetensors")
    shared = [name for name in own if name.startswith("encoder.")]
    assert shared and all(torch.allclose(own[name], theirs[name], atol=1e-7) for name in shared)
    assert "encoder.embedding.tokens.weight" in shared
    assert len(read_description(find_model(run))["provenance"]["teacher"]) == 64
    assert "[tokenizer]" not in (run / "config.toml").read_text()
    assert str(material) not in (run / "checkpoints" / "last" / "model.json").read_text()


def test_a_trained_student_is_fine_tuned(material: Path, tmp_path: Path) -> None:
    first = student(material, str(tmp_path / "first"), "fertility", "training.steps=2")
    table = [f"training.init_from={first}", f"training.teacher={material / 'teacher'}"]
    table += ["training.fine_tuning=0.25", "training.schedule=constant", "training.peak_rate=2e-5"]
    files = [
        f"data.{name}={material / file}" for name, file in (("source", "train.en"), ("target", "train.de"))
    ]
    files += [f"data.fertilities={material / 'train.fert'}", "data.holdout=20"]
    steps = ["training.steps=2", "validation.every=2", "training.batch_tokens=200"]
    start_run(read_experiment(overrides=[*files, *table, *steps]), tmp_path / "second", Group())
    assert read_description(find_model(tmp_path / "second"))["model"]["decoder"] == "fertility"
    assert any(
        not torch.equal(own, weights(first)[name]) for name, own in weights(tmp_path / "second").items()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.decoder=fertility"], "data.fertilities is not set: a model trained with fertilities"),
        (
            ["data.fertilities=train.fert", "data.valid_source=a", "data.valid_target=b"],
            "data.valid_fertilities is not set",
        ),
        (["model.decoder=ctc", "data.fertilities=train.fert"], 'data.fertilities: only for .* "fertility"'),
        (["model.decoder=ctc", "training.fine_tuning=0.5"], 'fine_tuning: only for .* "fertility"'),
        (["model.decoder=ctc", "training.init_encoder=true"], "init_encoder needs a teacher"),
        (["model.decoder=ctc", "training.glancing=[0.5, 1.5]"], "both shares must lie in"),
        (["model.decoder=ctc", "training.compile=true"], "training.compile: the shapes"),
        (["model.decoder=dag", "training.label_smoothing=0.1"], "label_smoothing: a path through the graph"),
        (["model.decoder=ctc", "validation.beam=3"], "validation.beam: a non-autoregressive model"),
        (["model.decoder=ctc", "decoding.beam=3"], "decoding.beam = 3: means nothing"),
        (["model.decoder=mask-predict", "training.glancing=[0.5, 0.3]"], 'glancing: only for .* "ctc"'),
        (["model.kind=transformer", "training.glancing=[0.5, 0.3]"], 'glancing: only for .* "ctc"'),
        (["model.kind=transformer", "decoding.iterations=3"], "only for non-autoregressive models"),
        (
            ["model.decoder=ctc", "training.teacher=t", "tokenizer.vocab_size=90"],
            r"\[tokenizer\]: the vocabulary comes from training.teacher = t",
        ),
        (
            ["model.decoder=ctc", "training.teacher=t", "training.init_from=u", "training.init_encoder=true"],
            "u: no such model folder",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_experiment(
            overrides=["model.kind=nonautoregressive", "data.source=a", "data.target=b", *settings]
        )


def test_a_language_model_has_no_teacher() -> None:
    table = ["model.kind=recurrent-lm", "data.text=a", "training.teacher=t"]
    with pytest.raises(UserError, match="a language model has no teacher"):
        read_experiment(overrides=table)


def test_a_teacher_of_another_size_lends_its_pieces_but_not_its_encoder(
    material: Path, tmp_path: Path
) -> None:
    run = student(material, str(tmp_path / "wide"), "fertility", "model.width=20", "training.steps=1")
    assert Translator.load(run, device="cpu").translate(["one"])[0].failed is False
    with pytest.raises(UserError, match="init_encoder: the teacher's model.width is 16, this model needs 20"):
        student(material, str(tmp_path / "refused"), "ctc", "model.width=20", "training.init_encoder=true")
