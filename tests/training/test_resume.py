"""Stopped anywhere and started again, a run ends as if it had never stopped."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from saccade.model_folder.checkpoint import read_json, read_tensors, write_json, write_tensors
from tests.training.conftest import drive, quick_drive

NOISY = ("model.dropout=0.2",)
EVERYTHING = (
    "model.dropout=0.2",
    "training.ema=0.9",
    "training.average=2",
    "training.accumulate=2",
    "tokenizer.sampling=0.1",
    "training.log_every=4",  # means that began before the restart
)


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints" / name / "model.safetensors")


def losses(run: Path) -> list[tuple[int, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [
        (line["step"], line["loss"]) for line in map(json.loads, lines) if line["kind"] in ("train", "valid")
    ]


def assert_same_run(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    for name in ("last", "best"):
        expected, got = weights(one, name), weights(other, name)
        assert expected.keys() == got.keys()
        for key, tensor in expected.items():
            assert torch.equal(tensor, got[key]), key


RECURRENT, CONVOLUTIONAL = "model.kind=recurrent", "model.kind=convolutional"
CTC = ("model.kind=nonautoregressive", "model.decoder=ctc", "model.tied_embeddings=none")
ALL_OF_TEXT = ("model.dropout=0.2", "training.ema=0.9", "training.average=2", "training.accumulate=2")
QUICK = {
    "plain": NOISY,
    "everything": EVERYTHING,
    "transformer-xl": (*ALL_OF_TEXT, "model.kind=transformer-xl"),
}
SLOW = {
    "recurrent, fed lstm": (*NOISY, RECURRENT, "model.cell=lstm", "model.attention=general"),
    "recurrent, no attention": (*NOISY, RECURRENT, "model.attention=none"),
    "ctc": (*EVERYTHING, *CTC),
    "dag": (*EVERYTHING, "model.kind=nonautoregressive", "model.decoder=dag"),
    "mask-predict": (*EVERYTHING, "model.kind=nonautoregressive", "model.decoder=mask-predict"),
    "convolutional, output normed": (*NOISY, CONVOLUTIONAL, "model.tied_embeddings=none"),
    "recurrent-lm": (*ALL_OF_TEXT, "model.kind=recurrent-lm"),
    "transformer-lm, sliding": (*ALL_OF_TEXT, "model.kind=transformer-lm", "model.memory=3"),
}


@pytest.mark.parametrize(
    "settings",
    [
        *(pytest.param(settings, id=name) for name, settings in QUICK.items()),
        *(pytest.param(settings, id=name, marks=pytest.mark.slow) for name, settings in SLOW.items()),
    ],
)
def test_killed_in_the_middle_and_resumed_is_the_same_run(corpus: Path, settings: tuple[str, ...]) -> None:
    assert quick_drive(corpus / "whole", *settings) == 0
    assert quick_drive(corpus / "cut", "--kill-at", "8", *settings) == -9  # 3 updates after the last save
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")


def test_killed_before_the_first_checkpoint_starts_over_as_the_same_run(corpus: Path) -> None:
    assert quick_drive(corpus / "whole", *NOISY) == 0
    assert quick_drive(corpus / "cut", "--kill-at", "3", *NOISY) == -9
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")


def test_with_guided_alignment_a_run_killed_and_resumed_is_the_same(corpus: Path) -> None:
    words = [(corpus / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("en", "de")]
    links = (
        f"0-0 {len(source.split()) - 1}-{len(target.split()) - 1}\n"
        for source, target in zip(*words, strict=True)
    )
    (corpus / "train.links").write_text("".join(links))
    settings = ("training.guided_alignment=0.5", "training.accumulate=2", "tokenizer.sampling=0.1")
    assert quick_drive(corpus / "whole", *settings) == 0
    assert quick_drive(corpus / "cut", "--kill-at", "8", *settings) == -9
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")
    heads = json.loads((corpus / "cut" / "checkpoints" / "best" / "alignment.json").read_text())
    assert heads == {"layer": 1, "heads": [1], "from": "guided alignment"}


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 5, 6, 7, 11, 12])
def test_killed_at_any_step_is_the_same_run(corpus: Path, step: int) -> None:
    assert quick_drive(corpus / "whole", *EVERYTHING) == 0
    assert quick_drive(corpus / "cut", "--kill-at", str(step), *EVERYTHING) == -9
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param((), id="transformer"),
        pytest.param((RECURRENT,), id="recurrent", marks=pytest.mark.slow),
        pytest.param((CONVOLUTIONAL,), id="convolutional", marks=pytest.mark.slow),
        pytest.param(CTC, id="ctc", marks=pytest.mark.slow),
        pytest.param(("model.kind=transformer-xl",), id="transformer-xl", marks=pytest.mark.slow),
    ],
)
def test_two_processes_killed_and_resumed_are_the_same_run(corpus: Path, kind: tuple[str, ...]) -> None:
    assert quick_drive(corpus / "whole", *NOISY, *kind, processes=2) == 0
    assert quick_drive(corpus / "cut", "--kill-at", "8", *NOISY, *kind, processes=2) == -9
    assert quick_drive(corpus / "cut", "--resume", processes=2) == 0
    assert_same_run(corpus / "whole", corpus / "cut")


def test_control_c_saves_and_loses_nothing(corpus: Path) -> None:
    assert quick_drive(corpus / "whole", *NOISY) == 0
    stopped = drive(corpus / "cut", "--stop-at", "7", *NOISY)
    assert stopped.returncode == 130
    assert "Stopped at step 7 and saved." in stopped.stderr
    assert "Traceback" not in stopped.stderr
    again = drive(corpus / "cut", "--resume")
    assert again.returncode == 0, again.stderr
    assert_same_run(corpus / "whole", corpus / "cut")


def test_a_run_with_text_of_an_older_format_is_refused_until_it_is_deleted_and_then_the_same(
    corpus: Path,
) -> None:
    assert quick_drive(corpus / "whole", *EVERYTHING) == 0
    assert quick_drive(corpus / "cut", "--stop-at", "7", *EVERYTHING) == 130
    description = corpus / "cut" / "data" / "train" / "cache.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "version": 1}))
    assert quick_drive(corpus / "cut", "--resume") == 2
    shutil.rmtree(corpus / "cut" / "data")
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")


def test_a_finished_run_resumed_changes_nothing(corpus: Path) -> None:
    assert quick_drive(corpus / "run", *NOISY) == 0
    before = (corpus / "run" / "metrics.jsonl").read_bytes()
    assert quick_drive(corpus / "run", "--resume") == 0
    assert (corpus / "run" / "metrics.jsonl").read_bytes() == before


OLDER = (
    ("encoder.embedding.", "source_embedding."),
    ("encoder.layers.", "encoder."),
    ("encoder.norm.", "encoder_norm."),
)
RESIDUALS = (
    ("self_attention_residual.", "around_self."),
    ("cross_attention_residual.", "around_cross."),
    ("feed_forward_residual.", "around_feed_forward."),
)


def older(path: str) -> str:
    """The name of a parameter, or of what training keeps for it, in format 1."""
    for now, before in (*OLDER, *RESIDUALS):
        path = path.replace(now, before)
    return path


def test_a_run_of_an_older_version_is_resumed_with_its_optimizers_state(corpus: Path) -> None:
    settings = ("model.norm=pre", "training.ema=0.9")
    assert quick_drive(corpus / "whole", *settings) == 0
    assert quick_drive(corpus / "cut", "--stop-at", "8", *settings) == 130
    last = corpus / "cut" / "checkpoints" / "last"
    for name in ("model.safetensors", "training.safetensors"):
        write_tensors(last / name, {older(path): one for path, one in read_tensors(last / name).items()})
    description = read_json(last / "model.json")
    write_json(last / "model.json", {**description, "format": 1})
    assert quick_drive(corpus / "cut", "--resume") == 0
    assert_same_run(corpus / "whole", corpus / "cut")
