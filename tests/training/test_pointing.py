"""Training of pointer networks: the loss, that it learns, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.errors import UserError
from saccade.runs.experiment import read_experiment, start_run, warnings
from saccade.tasks.pointing import pointed_batch
from saccade.text.pointed_examples import PointedConfig, open_prepared_tasks, prepare_tasks
from saccade.training.distributed import Group
from saccade.training.pointing import PointerCrossEntropy
from saccade.use.pointer import InputPointer
from tests.labelled import pointer
from tests.readers.positions import write_tasks

POINTER = "model.kind=pointer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tasks(tmp_path / "train.tsv", 150, 1)
    write_tasks(tmp_path / "valid.tsv", 20, 2)
    return tmp_path


@torch.no_grad()
def test_the_loss_is_that_of_a_plain_loop(folder: Path) -> None:
    prepare_tasks(PointedConfig(text=(folder / "valid.tsv",)), numbers=1, out=folder / "out")
    lines = open_prepared_tasks(folder / "out").train
    network = pointer(numbers=1).network
    expected, positions = 0.0, 0
    for row in range(8):
        source = torch.tensor(lines["source"].line(row)).double()[None]
        gold = lines["target"].line(row).astype(np.int64).tolist()
        memory = network.encode(source, torch.tensor([source.size(1)]))
        for place, answer in enumerate(gold):
            scores = network.decode(torch.tensor([[0, *gold[:place]]]), memory)[0, -1]
            expected += float(scores.logsumexp(-1) - scores[answer])
            positions += 1
    batch = pointed_batch(lines, range(8))
    assert batch.target_tokens == positions
    assert float(PointerCrossEntropy()(network, batch)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_it_learns_to_sort(tmp_path: Path, precision: str) -> None:
    write_tasks(tmp_path / "train.tsv", 2000, 1, most=4)
    write_tasks(tmp_path / "valid.tsv", 100, 2, most=4)
    files = [f"data.text={tmp_path / 'train.tsv'}", f"data.valid_text={tmp_path / 'valid.tsv'}"]
    small = ["model.preset=tiny", "model.numbers=1", "model.layers=1", "model.positions=none"]
    steps = ["training.steps=120", "training.warmup=20", "training.peak_rate=1e-2", "validation.every=60"]
    own = [POINTER, "training.batch_tokens=400", f"training.precision={precision}"]
    torch.set_num_threads(1)
    start_run(read_experiment(overrides=[*files, *small, *steps, *own]), tmp_path / "run", Group())
    made = InputPointer.load(tmp_path / "run", device="cpu")
    scores = made.score(made.read(tmp_path / "valid.tsv", answers=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(line["exact"] for line in lines if line["kind"] == "valid") > 0.6
    assert scores.exact > 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.r_drop=5"], "training.r_drop: only for models that translate"),
        (["training.label_smoothing=0.1"], "an answer of positions has nothing to smooth"),
        (["data.source=a"], 'data.source = "a": no such setting'),
        (["tokenizer.vocab_size=9"], "tokenizer.vocab_size = 9: no such setting"),
        (["validation.metric=bleu"], "validation.metric = \"bleu\": must be 'exact' or 'loss'"),
        (["decoding.alpha=1"], "decoding.alpha = 1: no such setting"),
        (["model.numbers=0"], "model.numbers = 0"),
        (["model.heads=7"], "width 128 is not a multiple of heads 7"),
        (["model.width=9", "model.heads=3"], "width 9 is odd: sinusoidal positions need an even one"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_experiment(overrides=[POINTER, *settings])
    assert message in str(caught.value)


def test_the_report_warns_of_numbers_that_training_lacks_and_of_inputs_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("500 1\t2 1\n" * 9)
    (tmp_path / "valid.tsv").write_text("500 1\t2 1\n-4 3\t1 2\n")
    files = [f"data.text={tmp_path / 'train.tsv'}", f"data.valid_text={tmp_path / 'valid.tsv'}"]
    plan = read_experiment(overrides=[POINTER, "model.numbers=1", *files])
    config = plan.data
    assert isinstance(config, PointedConfig)
    found = "\n".join(warnings(plan, prepare_tasks(config, numbers=1, out=tmp_path / "out")))
    assert "the inputs of 1 of 2 validation examples are also in the training text" in found
    assert "validation numbers are from -4 to 500" in found
    assert "Scale them" in found
