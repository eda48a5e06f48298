"""Training of models that read frames: what they learn, also in 16 bits, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.runs.experiment import read_experiment, start_run
from saccade.training.distributed import Group
from saccade.use.frame_labeller import FrameLabeller
from saccade.use.transcriber import Transcriber
from tests.framed import WIDTH, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(tmp_path, "train", count=80, seed=1)
    write_manifest(tmp_path, "valid", count=20, seed=2)
    return tmp_path


def train(folder: Path, kind: str, *settings: str) -> None:
    end = "" if kind == "recogniser" else "-labels"
    files = [f"data.text={folder / 'train'}{end}.tsv", f"data.valid_text={folder / 'valid'}{end}.tsv"]
    arrays = ["tokenizer.reads=arrays", f"tokenizer.width={WIDTH}", f"model.kind={kind}", "model.preset=tiny"]
    steps = ["training.warmup=10", "training.peak_rate=8e-3", "model.dropout=0", "training.batch_tokens=300"]
    torch.set_num_threads(1)
    start_run(read_experiment(overrides=[*files, *arrays, *steps, *settings]), folder / "run", Group())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recogniser_learns_to_write_what_frames_say(folder: Path, precision: str) -> None:
    write_manifest(folder, "train", count=300, seed=1)
    steps = ("training.steps=500", "validation.every=500", f"training.precision={precision}")
    train(folder, "recogniser", *steps, "model.norm=pre", "training.peak_rate=4e-3", "training.warmup=50")
    use = Transcriber.load(folder / "run", device="cpu")
    scores = use.score(use.read(folder / "valid.tsv", answers=True))
    assert scores.cer < 0.2


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_classifier_learns_which_frame_comes_often(folder: Path, precision: str) -> None:
    for name in ("train", "valid"):
        rows = [line.split("\t") for line in (folder / f"{name}.tsv").read_text().strip("\n").split("\n")]
        lines = [f"{file}\t{'space' if ' ' in text else 'none'}\n" for file, text in rows]
        (folder / f"{name}-labels.tsv").write_text("".join(lines))
    train(
        folder,
        "frame-classifier",
        "training.steps=100",
        "validation.every=100",
        f"training.precision={precision}",
    )
    use = FrameLabeller.load(folder / "run", device="cpu")
    assert use.score(use.read(folder / "valid-labels.tsv", answers=True)).accuracy > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.init_encoder=true"], "training.init_encoder: only for models that translate"),
        (["data.source=a"], 'data.source = "a": no such setting'),
        (["validation.metric=cer"], "must be 'accuracy' or 'loss'"),
        (["model.frame_kernel=2"], "2 is even"),
        (["model.ctc=1.0"], "model.ctc = 1.0"),
        (["model.copying=true"], "frames have no pieces to copy"),
        (
            ["tokenizer.reads=arrays", "tokenizer.width=2"],
            "frames of 2 values: a recogniser reads at least 4",
        ),
        (["tokenizer.rate=16000"], "rate is a setting of sounds, and this model reads pictures"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_experiment(overrides=["model.kind=recogniser", *settings])
    assert message in str(caught.value)


def test_frames_have_no_embedding_to_share(folder: Path) -> None:
    files = [f"data.text={folder / 'train.tsv'}", "tokenizer.reads=arrays", f"tokenizer.width={WIDTH}"]
    plan = read_experiment(overrides=["model.kind=recogniser", *files, "model.tied_embeddings=all"])
    with pytest.raises(UserError, match="tied_embeddings = all needs one vocabulary"):
        start_run(plan, folder / "run", Group())


def test_a_run_without_a_manifest_says_which_setting_is_missing(tmp_path: Path) -> None:
    plan: Any = read_experiment(overrides=["model.kind=frame-classifier"])
    with pytest.raises(UserError, match=r"no training manifest: set data\.text"):
        start_run(plan, tmp_path / "run", Group())
