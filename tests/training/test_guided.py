"""The loss of guided alignment against a naive loop in float64, and what training with it keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from saccade.models.recording import cross_attention, record_attention
from saccade.text.batching import Batch, PaddedColumn
from saccade.training.guided import GuidedAlignment, alignment_cost
from saccade.training.objective import CrossEntropy
from tests.kinds import KINDS, network
from tests.tiny import batch, sentences, transformer, value

SOURCE, TARGET = sentences([4, 6, 3]), sentences([5, 3, 4], seed=1)
LINKS = [[(0, 0), (2, 1), (1, 1), (2, 3)], [], [(1, 0), (0, 2)]]
ATTENDING = [name for name in KINDS if "none" not in name]


def linked(rows: Sequence[Sequence[tuple[int, int]]]) -> PaddedColumn:
    longest = max(map(len, rows))
    values = torch.zeros(len(rows), longest, 2, dtype=torch.int64)
    for row, links in enumerate(rows):
        for place, link in enumerate(links):
            values[row, place] = torch.tensor(link)
    lengths = torch.tensor([len(links) for links in rows])
    return PaddedColumn(values, lengths, 0, positions=int(lengths.sum()))


def guided_batch(rows: Sequence[int] = (0, 1, 2)) -> Batch:
    plain = batch([SOURCE[row] for row in rows], [TARGET[row] for row in rows])
    return replace(plain, columns={**plain.columns, "alignments": linked([LINKS[row] for row in rows])})


def naive_cost(weights: torch.Tensor) -> float:
    total = 0.0
    for row, links in enumerate(LINKS):
        for target in {j for _, j in links}:
            sources = [i for i, j in links if j == target]
            total -= sum(math.log(float(weights[row, target, i])) for i in sources) / len(sources)
    return total


def test_the_cost_is_the_cross_entropy_of_each_linked_token_added_up_in_a_loop() -> None:
    weights = torch.randn(3, 5, 6, dtype=torch.float64).softmax(-1)
    assert value(alignment_cost(weights, linked(LINKS))) == pytest.approx(naive_cost(weights), abs=1e-12)


def test_a_weight_that_was_rounded_to_zero_costs_much_and_stays_finite() -> None:
    scores = torch.tensor([[[0.0, 200.0]]], requires_grad=True)
    cost = alignment_cost(scores.softmax(-1), linked([[(0, 0)]]))
    cost.backward()
    assert 80 < value(cost) < 100
    assert scores.grad is not None and bool(scores.grad.isfinite().all())


@pytest.mark.parametrize("kind", ATTENDING)
def test_the_loss_is_the_likelihood_plus_the_weighted_cost_of_the_recorded_attention(kind: str) -> None:
    model = network(kind).double().eval()
    given = guided_batch()
    layers = len(cross_attention(model))
    with record_attention(model) as maps:
        plain = value(CrossEntropy(0.1)(model, given))
    cross = [one for one in maps.values() if one.kind == "cross"]
    head = cross[layers - 1].heads
    loss = GuidedAlignment(CrossEntropy(0.1), 0.3, layer=layers, head=head)(model, given)
    expected = plain + 0.3 * naive_cost(cross[layers - 1].weights[:, head - 1])
    assert value(loss) == pytest.approx(expected, rel=1e-6)


def test_rows_add_up_however_they_are_batched_and_padded() -> None:
    model, objective = transformer(), GuidedAlignment(CrossEntropy(), 0.5, layer=1, head=2)
    whole = objective(model, guided_batch())
    parts = [objective(model, guided_batch([row])) for row in range(3)]
    taken = [objective(model, guided_batch().take(slice(row, row + 1))) for row in range(3)]
    assert value(whole) == pytest.approx(sum(map(value, parts)), abs=1e-9)
    assert value(whole) == pytest.approx(sum(map(value, taken)), abs=1e-9)


def gradient_of(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def test_the_gradient_equals_finite_differences() -> None:
    model, objective = transformer(), GuidedAlignment(CrossEntropy(), 2.0, layer=1, head=1)
    given = guided_batch()
    module: Any = cross_attention(model)[0]
    weight = module.query.weight
    found = gradient_of(model, objective(model, given))["decoder.0.cross_attention.query.weight"]
    for place in ((0, 0), (3, 7), (11, 2)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[place] += step
            values.append(value(objective(model, given)))
            with torch.no_grad():
                weight[place] -= step
        assert float(found[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_other_heads_get_no_gradient_from_the_cost() -> None:
    model = transformer()
    plain = gradient_of(model, CrossEntropy()(model, guided_batch()))
    objective = GuidedAlignment(CrossEntropy(), 1.0, layer=2, head=2)
    guided = gradient_of(model, objective(model, guided_batch()))
    change = (
        guided["decoder.1.cross_attention.query.weight"] - plain["decoder.1.cross_attention.query.weight"]
    )
    by_head = change.view(3, 4, 12).abs().amax((1, 2))
    assert float(by_head[1]) > 1e-6
    assert float(by_head[0]) == float(by_head[2]) == 0.0


def test_in_bfloat16_the_cost_is_computed_in_float32() -> None:
    model = transformer(dtype=torch.float32)
    objective = GuidedAlignment(CrossEntropy(), 1.0, layer=1, head=1)
    exact = value(objective(model, guided_batch()) - CrossEntropy()(model, guided_batch()))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = objective(model, guided_batch()) - CrossEntropy()(model, guided_batch())
    assert rounded.dtype == torch.float32
    assert value(rounded) == pytest.approx(exact, rel=0.05)
