"""Attention over memory and segment, against loops written from the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.nn.positions import sinusoids
from saccade.nn.transformer_xl import MemoryAttention, memory_mask, shifted
from tests.reference.memory_attention import attended
from tests.reference.transformer import position_encoding
from tests.tiny import randomise

WIDTH, HEADS = 12, 3


@given(st.integers(1, 5), st.integers(0, 6))
def test_the_shift_brings_each_distance_to_its_key(queries: int, past: int) -> None:
    keys = past + queries
    by_distance = torch.arange(keys - 1, -1, -1.0).expand(2, 3, queries, keys)  # says its own distance
    for i, row in enumerate(shifted(by_distance)[1, 2].tolist()):
        own = past + i
        assert row[: own + 1] == [own - j for j in range(own + 1)]


@given(st.integers(1, 5), st.integers(0, 6), st.none() | st.integers(1, 7))
def test_the_mask_shows_the_past_as_far_as_it_reaches(queries: int, past: int, reach: int | None) -> None:
    mask = memory_mask(queries, past + queries, reach=reach).tolist()
    for i, row in enumerate(mask):
        back = [past + i - j for j in range(past + queries)]
        assert row == [n >= 0 and (reach is None or n < reach) for n in back]


def attention() -> MemoryAttention:
    torch.manual_seed(0)
    module = MemoryAttention(WIDTH, heads=HEADS, dropout=0.0).double()
    randomise(module, scale=0.5)
    return module.eval()


def arrays(module: MemoryAttention) -> dict[str, np.ndarray]:
    key, value = module.key_value.weight.chunk(2)
    found = {
        "query": module.query.weight,
        "key": key,
        "value": value,
        "distance": module.distance.weight,
        "output": module.output.weight,
        "u": module.content_bias[:, 0],
        "v": module.distance_bias[:, 0],
    }
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


@pytest.mark.parametrize(
    ("past", "reach", "clamp"), [(0, None, None), (4, None, None), (6, 3, None), (5, None, 2), (1, 20, 4)]
)
def test_it_equals_a_double_loop_over_queries_and_keys(
    past: int, reach: int | None, clamp: int | None
) -> None:
    module = attention()
    context = torch.randn(1, past + 5, WIDTH, dtype=torch.float64)
    keys = context.size(1)
    table = torch.from_numpy(position_encoding(keys, WIDTH, layout="halves"))
    distances = table[torch.arange(keys - 1, -1, -1).clamp(max=clamp or keys)]
    mask = memory_mask(5, keys, reach=reach)
    out = module(context[:, past:], context, distances, visible=mask)
    expected = attended(
        context[0, past:].numpy(),
        context[0, :past].numpy(),
        arrays(module),
        heads=HEADS,
        reach=reach,
        clamp=clamp,
    )
    np.testing.assert_allclose(out[0].detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_recorded_weights_are_those_of_the_forward_pass() -> None:
    module, context = attention(), torch.randn(2, 7, WIDTH, dtype=torch.float64)
    arguments = (context[:, 3:], context, sinusoids(7, WIDTH, layout="halves").double().flip(0))
    mask = memory_mask(4, 7, reach=5)
    weights = module.weights(*arguments, visible=mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 4, dtype=torch.float64))
    assert bool((weights[..., ~mask] == 0).all())
    value = module.key_value(context).chunk(2, -1)[1].unflatten(-1, (HEADS, -1)).transpose(1, 2)
    mixed = module.output((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, module(*arguments, visible=mask), rtol=0, atol=1e-12)
