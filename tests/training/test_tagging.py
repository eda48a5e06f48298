"""Training of models that label: what they learn, also in 16 bits, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.model_folder.checkpoint import read_tensors
from saccade.runs.experiment import read_experiment, start_run
from saccade.training.distributed import Group
from saccade.use.classifier import TextLabeller
from saccade.use.tagger import WordLabeller
from tests.readers.words import write_sentences
from tests.training.conftest import quick_drive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sentences(tmp_path / "train.tsv", 120, 1)
    write_sentences(tmp_path / "valid.tsv", 20, 2)
    return tmp_path


def train(folder: Path, *settings: str) -> None:
    files = [f"data.text={folder / 'train.tsv'}", f"data.valid_text={folder / 'valid.tsv'}"]
    small = ["model.kind=tagger", "model.preset=tiny", "training.batch_tokens=400"]
    plan = read_experiment(overrides=[*files, *small, *settings])
    torch.set_num_threads(1)
    start_run(plan, folder / "run", Group())


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_tagger_learns_what_depends_on_spelling_and_on_the_word_before(
    folder: Path, precision: str
) -> None:
    steps = ("training.steps=60", "training.warmup=10", "training.peak_rate=5e-3", "validation.every=30")
    train(folder, *steps, "model.dropout=0", "model.word_dropout=0", f"training.precision={precision}")
    labeller = WordLabeller.load(folder / "run", device="cpu")
    scores = labeller.score(labeller.read(folder / "valid.tsv", answers=True))
    assert scores.accuracy > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.init_encoder=true"], "training.init_encoder: only for models that translate"),
        (["training.r_drop=5"], "training.r_drop: only for models that translate"),
        (["training.guided_alignment=0.1"], "guided alignment is for models that write token by token"),
        (["model.crf=true", "training.label_smoothing=0.1"], "a random field is trained on whole sentences"),
        (["data.source=a"], 'data.source = "a": no such setting'),
        (["validation.metric=bleu"], "validation.metric = \"bleu\": must be 'accuracy' or 'loss'"),
        (["decoding.beam=4"], "decoding.beam = 4: no such setting; [decoding] has none"),
        (["model.kernel=2"], "kernel and spelling_kernel have to be odd"),
        (["model.heads=7"], "width 256 is not a multiple of heads 7"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_experiment(overrides=["model.kind=tagger", *settings])
    assert message in str(caught.value)


def test_a_run_without_text_says_which_setting_is_missing(tmp_path: Path) -> None:
    plan: Any = read_experiment(overrides=["model.kind=tagger"])
    with pytest.raises(UserError, match=r"no training text: set data\.text"):
        start_run(plan, tmp_path / "run", Group())


def test_a_classifier_learns_which_word_comes_first(folder: Path) -> None:
    for path in (folder / "train.tsv", folder / "valid.tsv"):
        path.write_text("".join(f"{one}\t{one} b c\n{one}\t{one} c b b\n" for one in ("x", "y")) * 20)
    files = [f"data.text={folder / 'train.tsv'}", f"data.valid_text={folder / 'valid.tsv'}"]
    small = [
        "model.kind=classifier",
        "model.preset=tiny",
        "tokenizer.model=word",
        "training.batch_tokens=100",
    ]
    steps = ["training.steps=30", "training.warmup=5", "training.peak_rate=1e-2", "model.dropout=0"]
    torch.set_num_threads(1)
    start_run(read_experiment(overrides=[*files, *small, *steps]), folder / "run", Group())
    labeller = TextLabeller.load(folder / "run", device="cpu")
    assert [one.label for one in labeller.predict(["x c b", "y b"])] == ["x", "y"]


def test_a_tagger_and_a_classifier_start_from_a_pre_trained_encoder(folder: Path) -> None:
    assert quick_drive(folder / "bert", "model.kind=bert", "training.steps=2") == 0
    files = [f"data.text={folder / 'train.tsv'}", f"data.valid_text={folder / 'valid.tsv'}"]
    own = [f"training.encoder_from={folder / 'bert'}", "training.steps=1", "training.peak_rate=1e-9"]
    torch.set_num_threads(1)
    before = read_tensors(folder / "bert" / "checkpoints" / "best" / "model.safetensors")
    start_run(read_experiment(overrides=[*files, *own, "model.kind=bert-tagger"]), folder / "tagger", Group())
    after = read_tensors(folder / "tagger" / "checkpoints" / "last" / "model.safetensors")
    for name, tensor in after.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=0)
    labeller = WordLabeller.load(folder / "tagger", device="cpu")
    assert len(labeller.predict(["abx bcx"])[0].labels) == 2
    with pytest.raises(UserError, match=r"model\.width = 99: this, which is 16, comes from"):
        read_experiment(overrides=[*files, *own, "model.kind=bert-tagger", "model.width=99"])
    with pytest.raises(UserError, match="Set model.kind to a kind that labels with such an encoder"):
        read_experiment(overrides=[*files, *own, "model.kind=bert"])
    with pytest.raises(UserError, match="only for models that label"):
        read_experiment(overrides=[*own, "model.kind=transformer"])
