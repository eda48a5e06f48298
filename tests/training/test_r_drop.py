"""R-Drop in training: two passes over each pair, exact in tokens however a batch is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.errors import ConfigError
from saccade.runs.experiment import read_experiment
from saccade.training.objective import CrossEntropy, Loss, NextToken, Objective
from saccade.training.r_drop import RDrop, RDropNextToken
from saccade.training.streams import CarriedMemory, Segments
from tests.models.test_language_models import network as language_model
from tests.nn.test_r_drop import naive
from tests.tiny import batch, sentences, transformer, value
from tests.training.test_eager import random_batch, shares, step_of, tiny_model

SOURCE, TARGET = sentences([4, 6, 3]), sentences([5, 3, 7], seed=1)


class Apart(Objective):
    """R-Drop of a model whose second pass differs, by something that can be repeated."""

    def __init__(self) -> None:
        self.objective = RDrop(5.0, 0.1)

    def __call__(self, model: Any, given: Any) -> Tensor:
        """See `Objective`."""
        decode = model.decode

        def shifted(target_in: Tensor, memory: Any) -> Tensor:
            hidden = decode(target_in, memory)
            second = torch.arange(len(hidden)) >= len(hidden) // 2
            turned: Tensor = torch.where(second[:, None, None], hidden.roll(1, -1), hidden)
            return turned

        model.decode = shifted
        try:
            return self.objective(model, given)
        finally:
            del model.decode


def updated(*batches: Any, micro_batches: int = 1) -> tuple[float, list[Tensor]]:
    model = tiny_model()
    step = step_of(model, loss=Loss(model, Apart()), micro_batches=micro_batches)
    result = step(shares(*batches), rate=0.01)
    return result.loss, [parameter.detach() for parameter in model.parameters()]


def test_the_loss_is_that_of_a_loop_over_both_passes() -> None:
    model, given = transformer(dropout=0.3).train(), batch(SOURCE, TARGET)
    torch.manual_seed(5)
    loss = value(RDrop(4.0, 0.1)(model, given))
    torch.manual_seed(5)
    source = given["source"]
    memory = model.encode(source.values.repeat(2, 1), source.lengths.repeat(2))
    logits = model(given["target_in"].values.repeat(2, 1), memory).unflatten(0, (2, -1))
    real = given["target"].real
    gold = given["target"].values[real]
    both = logits[:, real].detach()
    assert not torch.equal(both[0], both[1])
    assert loss == pytest.approx(naive(both, gold, strength=4.0, smoothing=0.1), rel=1e-9)


def test_without_dropout_or_outside_training_it_is_cross_entropy() -> None:
    given = batch(SOURCE, TARGET)
    for model in (transformer(dropout=0.0).train(), transformer(dropout=0.3)):
        expected = value(CrossEntropy(0.1)(model, given))
        assert value(RDrop(5.0, 0.1)(model, given)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_accumulated_batches_equal_one_large_batch(micro_batches: int) -> None:
    whole = random_batch(8)
    parts = [whole.take(slice(0, 3)), whole.take(slice(3, 4)), whole.take(slice(4, 8))]
    loss, weights = updated(whole)
    other_loss, others = updated(*parts, micro_batches=micro_batches)
    assert other_loss == pytest.approx(loss, rel=1e-12)
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)


def segments(model: Any) -> Segments:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(4, 13, (3, 6), generator=generator)
    gold = ids[:, 1:].clone()
    gold[2, 3:] = 0
    plain = Segments(ids[:, :5], gold, pad=0, target_tokens=int((gold != 0).sum()), numbers=torch.arange(3))
    return plain.attach(model.start(3), CarriedMemory(3))


def test_a_language_model_begins_both_passes_with_one_memory_and_carries_the_first() -> None:
    model = language_model("transformer-xl")
    plain, twice = segments(model), segments(model)
    expected = value(NextToken(0.1)(model, plain))
    model.train()  # its dropout is 0
    assert value(RDropNextToken(5.0, 0.1)(model, twice)) == pytest.approx(expected, rel=1e-9)
    assert plain.carried is not None
    assert twice.carried is not None
    carried, other = plain.carried.take(), twice.carried.take()
    assert carried is not None
    assert other is not None
    for one, two in zip(carried, other, strict=True):
        torch.testing.assert_close(one, two)


def test_models_that_write_all_words_at_once_refuse_it(tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_text("a b c\n", encoding="utf-8")
    tables: dict[str, Any] = {
        "data": {"source": str(tmp_path / "train.en"), "target": str(tmp_path / "train.de")},
        "model": {"kind": "nonautoregressive", "decoder": "ctc"},
        "training": {"r_drop": 1.0},
    }
    with pytest.raises(ConfigError, match=r"training\.r_drop"):
        read_experiment(None, tables=tables)
