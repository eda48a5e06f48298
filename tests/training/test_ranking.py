"""Training of rankers: what they learn, also in 16 bits, the loss, and refusals."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from saccade.errors import UserError
from saccade.runs.experiment import check, read_experiment, start_run, warnings
from saccade.text.batching import Batch, PaddedColumn
from saccade.training.distributed import Group
from saccade.training.ranking import ChoiceLoss
from saccade.use.table_ranker import TableRanker
from tests.tables import write_lists


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lists(tmp_path / "train.csv", count=120, seed=1)
    write_lists(tmp_path / "valid.csv", count=40, seed=2)
    return tmp_path


def train(folder: Path, *settings: str) -> TableRanker:
    files = [f"data.text={folder / 'train.csv'}", f"data.valid_text={folder / 'valid.csv'}"]
    small = ["model.kind=ranker", "model.preset=tiny", "model.dropout=0", "training.batch_tokens=200"]
    steps = ["training.warmup=10", "training.peak_rate=1e-2", "validation.every=60"]
    torch.set_num_threads(1)
    start_run(read_experiment(overrides=[*files, *small, *steps, *settings]), folder / "run", Group())
    return TableRanker.load(folder / "run", device="cpu")


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_attention_over_fields_learns_what_no_sum_of_fields_can_say(folder: Path, precision: str) -> None:
    generator = random.Random(1)
    for name, count in (("train", 400), ("valid", 100)):
        rows = [(generator.choice(["no", "yes"]), generator.choice(["no", "yes"])) for _ in range(count)]
        lines = "".join(f"{one},{other},{int(one != other)}\n" for one, other in rows)
        (folder / f"{name}.csv").write_text(f"first,second,label\n{lines}")
    use = train(
        folder, 'tokenizer.fields=["first","second"]', "training.steps=120", f"training.precision={precision}"
    )
    scores = use.score(use.read(folder / "valid.csv", answers=True))
    assert scores.log_loss < 0.2 and scores.ndcg is None


@pytest.mark.slow
def test_attention_over_a_list_learns_what_depends_on_the_others(folder: Path) -> None:
    columns = ['tokenizer.fields=["brand"]', 'tokenizer.numbers=["price"]', "tokenizer.group=query"]
    write_lists(folder / "train.csv", count=600, seed=1)
    own = ("model.attends=list", "tokenizer.label=chosen", "training.steps=300", *columns)
    use = train(folder, *own)
    assert use.score(use.read(folder / "valid.csv", answers=True)).log_loss < 0.3


@pytest.mark.parametrize("listwise", [True, False])
def test_the_loss_is_that_of_plain_loops(listwise: bool) -> None:
    class Fixed:
        def scores(self, _: object) -> torch.Tensor:
            return scores

    torch.manual_seed(1)
    scores = torch.randn(3, 4)
    lengths, labels = torch.tensor([4, 2, 3]), torch.tensor([[0, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]])
    batch = Batch({"labels": PaddedColumn(labels, lengths, 0, 9)}, counted="labels")
    expected = torch.tensor(0.0)
    for row, length in enumerate(lengths.tolist()):
        own, wanted = scores[row, :length], labels[row, :length].float()
        if not listwise:
            expected += binary_cross_entropy(own.sigmoid(), wanted, reduction="sum")
        elif wanted.any():
            expected -= (own.softmax(0).log() * wanted).sum() / wanted.sum()
    torch.testing.assert_close(ChoiceLoss(listwise)(Fixed(), batch), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.attends=history"], "a history is for models with attends"),
        (
            ['tokenizer.fields=["a"]', "tokenizer.history=b", "tokenizer.item=a"],
            "a history is for models with",
        ),
        (["model.attends=list"], "set tokenizer.group"),
        (["model.positions=rotary"], "fields have no order; leave it out"),
        (
            [
                *(
                    'tokenizer.fields=["a"]',
                    "tokenizer.history=b",
                    "tokenizer.item=a",
                    "model.attends=history",
                ),
                *("model.positions=learned", "model.max_positions=20"),
            ],
            "with learned positions it is at most model.max_positions - 2",
        ),
        (["model.listwise=true"], "set tokenizer.group"),
        (["training.label_smoothing=0.1"], "a ranker has none"),
        (["training.r_drop=5"], "training.r_drop: only for models that translate"),
        (["validation.metric=accuracy"], "must be 'loss', 'ndcg' or 'hit'"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_experiment(overrides=["model.kind=ranker", *settings])
    assert message in str(caught.value)


def test_the_report_and_what_is_pointed_out(folder: Path) -> None:
    files = [f"data.text={folder / 'train.csv'}", f"data.valid_text={folder / 'valid.csv'}"]
    columns = ['tokenizer.fields=["brand","price"]', "tokenizer.group=query", "tokenizer.label=chosen"]
    plan: Any = read_experiment(overrides=["model.kind=ranker", *files, *columns, "data.max_length=3"])
    report = check(plan, folder / "out")
    assert any("dropped, too long" in line for line in report.summary())
    assert any("leave out fields that name single rows" in one for one in warnings(plan, report))
    with pytest.raises(UserError, match=r"no training table: set data\.text"):
        start_run(read_experiment(overrides=["model.kind=ranker"]), folder / "run", Group())
    with pytest.raises(UserError, match=r"set tokenizer\.fields or tokenizer\.numbers"):
        check(
            read_experiment(overrides=["model.kind=ranker", *files, "tokenizer.label=chosen"]), folder / "out"
        )
