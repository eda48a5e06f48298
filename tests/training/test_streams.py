"""Memory is carried from update to update, whatever the batch is cut into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saccade.models.families import Memory
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.training.loader import Loader
from saccade.training.objective import Loss, NextToken
from saccade.training.optim import OptimizerConfig, make_optimizer
from saccade.training.streams import CarriedMemory, Segments, TextStreams
from tests.models.test_language_models import KINDS, network

IDS = np.random.default_rng(0).integers(4, 13, 83).astype(np.uint16)


def streams(model: Any, **changes: Any) -> TextStreams:
    settings = {"segment": 5, "rows": 6, "accumulate": 1, "seed": 1, "pad": 0, "group": Group()}
    return TextStreams(ids=IDS, start=model.start, **{**settings, **changes})


def step_of(model: Any, *, micro_batches: int = 1) -> EagerStep:
    optimizer = make_optimizer(model, OptimizerConfig(peak_rate=1e-2, epsilon=1e-3))
    return EagerStep(
        Loss(model, NextToken()),
        optimizer,
        group=Group(),
        clip_norm=0.0,
        autocast=False,
        micro_batches=micro_batches,
    )


def updates(data: TextStreams, epoch: int, *, done: int = 0) -> Iterator[list[Segments]]:
    """The batches of each update, with the memory that the one before has left."""
    for batches in data.epoch(epoch, done=done):
        yield [share.batch for share in data.attach([data.group.share(batch) for batch in batches])]


def trained(
    kind: str, *, epochs: int = 2, micro_batches: int = 1, **changes: Any
) -> tuple[list[float], dict[str, Tensor]]:
    """The loss of each update, and the weights at the end."""
    model = network(kind)
    step = step_of(model, micro_batches=micro_batches)
    with Loader(streams(model, **changes), Group()) as loader:
        losses = [
            step(shares, rate=1e-2).loss for epoch in range(epochs) for shares in loader.epoch(epoch, done=0)
        ]
    return losses, model.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_read_on_where_the_last_update_left_it(kind: str) -> None:
    """With frozen weights the losses are those of one pass over each stream."""
    model = network(kind)
    objective, total = NextToken(), 0.0
    tokens, gold, memory = [], [], model.start(6)
    for batches in updates(streams(model), 3):
        [batch] = batches
        tokens.append(batch.tokens)
        gold.append(batch.gold)
        total += float(objective(model, batch).detach())
        for one, other in zip(batch.memory, memory, strict=True):
            assert torch.equal(one, other)
        _, memory = model.read(batch.tokens, memory)
    assert sum(int((part != 0).sum()) for part in gold) == len(IDS)
    expected, memory = 0.0, model.start(6)
    for read, right in zip(tokens, gold, strict=True):
        hidden, memory = model.read(read, memory)
        log_probs = model.output(hidden).log_softmax(-1).gather(2, right[..., None]).squeeze(2)
        expected -= float(log_probs[right != 0].sum().detach())
    assert total == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["transformer-xl", "transformer-lm, sliding", "recurrent-lm, lstm"])
def test_split_into_micro_batches_or_not_is_the_same_training(kind: str) -> None:
    losses, weights = trained(kind)
    for micro_batches in (2, 4):
        other_losses, other = trained(kind, micro_batches=micro_batches)
        assert other_losses == pytest.approx(losses, abs=1e-9)
        for name, tensor in weights.items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-9)


def test_a_micro_batch_may_have_nothing_to_predict() -> None:
    """Of 83 tokens some streams have 13 and some 14: of the last segment most rows have none."""
    losses, weights = trained("transformer-xl", segment=13)
    other_losses, other = trained("transformer-xl", segment=13, micro_batches=6)
    assert len(losses) == 2 * 2
    assert other_losses == pytest.approx(losses, abs=1e-9)
    for name, tensor in weights.items():
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-9)


def test_accumulated_batches_are_one_large_batch() -> None:
    losses, weights = trained("transformer-xl", rows=6)
    other_losses, other = trained("transformer-xl", rows=2, accumulate=3)
    assert other_losses == pytest.approx(losses, abs=1e-9)
    for name, tensor in weights.items():
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-9)


def test_epochs_begin_at_other_places_and_by_seed_and_epoch_alone() -> None:
    model = network("transformer-xl")

    def first(epoch: int, **changes: Any) -> list[int]:
        [batch] = next(updates(streams(model, **changes), epoch))
        return batch.gold.flatten().tolist()

    assert first(0) == first(0)
    assert first(0) != first(1) != first(2)
    assert first(0) != first(0, seed=2)


def test_an_epoch_begins_without_memory_and_carries_it_then() -> None:
    model = network("transformer-xl")
    lengths = []
    data = streams(model)
    for _ in range(2):
        for batches in updates(data, 0):
            lengths.append(batches[0].memory[0].size(1))
            NextToken()(model, batches[0])
    assert lengths == [0, 5, 5, 0, 5, 5]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_carried_brings_a_new_start_to_the_same_place(accumulate: int) -> None:
    model = network("recurrent-lm, lstm")
    data = streams(model, rows=4, accumulate=accumulate)
    stopped = updates(data, 0)
    for batch in next(stopped):
        NextToken()(model, batch)
    saved = {name: tensor.clone() for name, tensor in data.state().items()}
    expected = next(stopped)
    again = streams(model, rows=4, accumulate=accumulate)
    again.restore(saved)
    assert again.state().keys() == saved.keys()
    resumed = next(updates(again, 0, done=1))
    for one, other in zip(resumed, expected, strict=True):
        assert torch.equal(one.tokens, other.tokens)
        assert len(one.memory) == len(other.memory) == 4
        assert all(torch.equal(a, b) for a, b in zip(one.memory, other.memory, strict=True))


def test_memory_of_other_streams_is_not_taken_over() -> None:
    model = network("recurrent-lm, lstm")
    data = streams(model)
    [batch] = next(updates(data, 0))
    NextToken()(model, batch)
    other = streams(model, rows=4)
    other.restore(data.state())
    [batch] = next(updates(other, 0, done=1))
    assert not any(bool(part.any()) for part in batch.memory)


def test_rows_of_other_processes_are_zeros_and_what_arrives_twice_counts_once() -> None:
    carried = CarriedMemory(4)
    assert carried.take() is None
    carried.put(torch.tensor([0, 2]), (torch.full((2, 3), 9.0),))
    carried.put(torch.tensor([0]), (torch.full((1, 3), 1.0),))
    carried.put(torch.tensor([2]), (torch.full((1, 3), 2.0),))
    for _ in range(2):
        memory = carried.take()
        assert memory is not None
        assert memory[0][:, 0].tolist() == [1, 0, 2, 0]


def test_a_memory_that_is_not_finite_is_forgotten() -> None:
    model = network("transformer-xl")
    data = streams(model)
    coming = updates(data, 0)
    [batch] = next(coming)
    broken: Memory = tuple(torch.full((6, 5, 12), float("nan")) for _ in range(2))
    batch.carry(broken)
    [batch] = next(coming)
    assert [part.shape for part in batch.memory] == [(6, 5, 12)] * 2
    assert not any(bool(part.any()) for part in batch.memory)


def test_rows_can_be_taken_from_a_batch() -> None:
    model = network("transformer-xl")
    data = streams(model)
    coming = updates(data, 0)
    for batch in next(coming):
        NextToken()(model, batch)
    [batch] = next(coming)
    some = batch.take([4, 1]).take(slice(1, 2))
    assert isinstance(some, Segments)
    assert some.rows == 1 and some.numbers.tolist() == [1]
    assert torch.equal(some.memory[0], batch.memory[0][1:2])
    assert some.target_tokens == int((batch.gold[1] != 0).sum())
