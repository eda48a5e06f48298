"""Attributions: erasure equals a run without the token, gradients equal finite differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from saccade.inspection.attribution.attributor import without_places
from saccade.inspection.attribution.translation import SourceAttributor
from saccade.inspection.correlation import correlations, rank_correlation
from saccade.models.recording import AttentionMap
from tests.inspection.records import READERS, SEQ2SEQ, Words, reader, translator
from tests.tiny import END, START

SOURCE, TARGET = [5, 7, 4, 6, END], [8, 6, 9, END]


def text(ids: Sequence[int]) -> str:
    return " ".join(str(one) for one in ids if one != END)


def stepwise(network: Any, source: Sequence[int], target: Sequence[int]) -> list[float]:
    """The log-probability of each token of the target, one step at a time."""
    found, token = [], START
    with torch.no_grad():
        memory = network.encode(torch.tensor([list(source)]), torch.tensor([len(source)]))
        state = network.start(memory, len(target))
        for following in target:
            logits, state = network.step(torch.tensor([token]), state)
            found.append(float(logits[0].double().log_softmax(-1)[following]))
            token = following
    return found


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_erasure_equals_a_run_without_the_token(kind: str) -> None:
    own: Any = translator(kind, Words())
    found = {one.method: one for one in own.inspect(text(SOURCE), text(TARGET)).attributions}
    whole = stepwise(own.decoder.network, SOURCE, TARGET)
    for place in range(len(SOURCE)):
        shorter = [one for number, one in enumerate(SOURCE) if number != place]
        without = stepwise(own.decoder.network, shorter, TARGET)
        expected = torch.tensor(whole, dtype=torch.float64) - torch.tensor(without, dtype=torch.float64)
        torch.testing.assert_close(found["erasure"].values[:, place], expected, rtol=1e-5, atol=1e-6)


def scaled(network: nn.Module, ids: Tensor, place: int, factor: float) -> Any:
    """A hook that scales the embedding of one token of `ids` where the network reads them."""

    def hook(_: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if args[0].shape != ids.shape or not torch.equal(args[0], ids):
            return None
        changed = output.clone()
        changed[:, place] *= factor
        return changed

    return [
        module.register_forward_hook(hook) for module in network.modules() if isinstance(module, nn.Embedding)
    ]


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_gradient_times_input_is_the_derivative_when_the_embedding_grows(kind: str) -> None:
    own: Any = translator(kind, Words())
    network = own.decoder.network
    found = {one.method: one for one in own.inspect(text(SOURCE), text(TARGET)).attributions}
    ids, step = torch.tensor([SOURCE]), 1e-5
    for place in range(len(SOURCE)):
        sides = []
        for factor in (1 + step, 1 - step):
            hooks = scaled(network, ids, place, factor)
            sides.append(torch.tensor(stepwise(network, SOURCE, TARGET), dtype=torch.float64))
            for hook in hooks:
                hook.remove()
        expected = (sides[0] - sides[1]) / (2 * step)
        torch.testing.assert_close(found["gradient"].values[:, place], expected, rtol=1e-3, atol=1e-5)


def following(network: Any, read: Sequence[int], token: int) -> float:
    """The log-probability of a token after a text, which is read in one piece."""
    with torch.no_grad():
        hidden, _ = network.read(torch.tensor([list(read)]), network.start(1))
        return float(network.output(hidden)[0, -1].double().log_softmax(-1)[token])


@pytest.mark.parametrize("kind", READERS)
def test_erasure_in_a_text_equals_reading_it_without_the_token(kind: str) -> None:
    own: Any = reader(kind, Words(), segment=50)
    found = {one.method: one for one in own.inspect(text(SOURCE)).attributions}
    read = [END, *SOURCE[:-1]]
    for output, token in enumerate(SOURCE):
        for place in range(len(read)):
            value = float(found["erasure"].values[output, place])
            without = [one for number, one in enumerate(read[: output + 1]) if number != place]
            if place > output:
                assert value == 0 and float(found["gradient"].values[output, place]) == 0
            elif not without:
                assert math.isnan(value)
            else:
                whole = following(own.network, read[: output + 1], token)
                expected = whole - following(own.network, without, token)
                assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", READERS)
def test_the_gradient_in_a_text_is_the_derivative_when_the_embedding_grows(kind: str) -> None:
    own: Any = reader(kind, Words(), segment=50)
    found = {one.method: one for one in own.inspect(text(SOURCE)).attributions}
    read, step = [END, *SOURCE[:-1]], 1e-5
    for place in range(len(read)):
        sides = []
        for factor in (1 + step, 1 - step):
            hooks = scaled(own.network, torch.tensor([read]), place, factor)
            sides.append(following(own.network, read, SOURCE[-1]))
            for hook in hooks:
                hook.remove()
        expected = (sides[0] - sides[1]) / (2 * step)
        assert float(found["gradient"].values[-1, place]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_source_of_one_token_has_no_erasure() -> None:
    found = translator("transformer", Words()).inspect("5", "6").attributions
    assert not bool(torch.isnan(found[1].values).any())  # the end symbol is left besides the word
    decoder: Any = translator("transformer", Words()).decoder
    source = torch.tensor([[END]])
    scores = decoder.token_scores(source, [6, END], ())
    alone = SourceAttributor(decoder.network, source, scores).erasure()
    assert alone.shape == (2, 1) and bool(torch.isnan(alone).all())


def test_each_row_lacks_one_place_and_keeps_the_order() -> None:
    assert without_places(torch.tensor([[5, 6, 7]]), torch.tensor([0, 2])).tolist() == [[6, 7], [5, 6]]
    wide = without_places(torch.tensor([[[5, 0], [6, 1]]]), torch.tensor([1]))
    assert wide.tolist() == [[[5, 0]]]


def ranks(values: Sequence[float]) -> list[float]:
    """The mean of the places that a value may have, counted one by one."""
    return [
        sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2
        for one in values
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_the_rank_correlation_is_pearsons_of_the_ranks(pairs: list[tuple[int, int]]) -> None:
    one, other = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = rank_correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(ranks(list(one)), ranks(list(other)))[0, 1], abs=1e-12)


def test_few_values_and_unknown_ones_have_no_correlation() -> None:
    assert rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert rank_correlation(np.array([1.0, 2.0, math.nan]), np.array([1.0, 2.0, 3.0])) is None


def test_each_head_has_the_mean_correlation_of_its_rows() -> None:
    values = torch.tensor([[0.1, -0.5, 0.3], [0.3, 0.2, -0.1]], dtype=torch.float64)
    same = values.abs() / values.abs().sum(-1, keepdim=True)
    one = AttentionMap("cross", 1, torch.stack([same, same.flip(-1), torch.full_like(same, 1 / 3)]))
    first, second, third = correlations(one, values, causal=False)
    assert first == pytest.approx(1.0) and third is None
    assert second is not None and second < 0.5
