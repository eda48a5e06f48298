"""Positional attention against a loop, and the block that has it."""

from __future__ import annotations

import torch

from saccade.nn.layers import BlockSettings
from saccade.nn.nonautoregressive import NonAutoregressiveDecoderLayer, PositionalAttention
from saccade.nn.positions import sinusoids
from tests.reference.nonautoregressive import positional_attention
from tests.tiny import randomise


def test_positional_attention_equals_a_loop_written_from_the_paper() -> None:
    attention = PositionalAttention(8, heads=2).double()
    randomise(attention)
    torch.manual_seed(0)
    x, positions = torch.randn(1, 5, 8, dtype=torch.float64), sinusoids(5, 8).double()
    query, key = attention.query_key.weight.chunk(2)
    query_bias, key_bias = attention.query_key.bias.chunk(2)
    weights = {
        "query": query,
        "query_bias": query_bias,
        "key": key,
        "key_bias": key_bias,
        "value": attention.value.weight,
        "value_bias": attention.value.bias,
    }
    with torch.no_grad():
        rows = positional_attention(x[0], positions, weights, 2)
    mixed = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(attention(x, positions)[0], attention.output(mixed), rtol=0, atol=1e-12)


def test_positional_weights_do_not_depend_on_what_stands_at_the_positions() -> None:
    attention = PositionalAttention(8, heads=2).double()
    randomise(attention)
    positions = sinusoids(5, 8).double()
    first, second = torch.randn(2, 1, 5, 8, dtype=torch.float64)
    weights = attention.weights(first, positions)
    assert torch.equal(weights, attention.weights(second, positions))
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 5, dtype=torch.float64))
    assert not torch.equal(attention(first, positions), attention(second, positions))


def test_a_block_without_positional_attention_has_three_sublayers() -> None:
    settings = BlockSettings(8, 2, 16)
    without, with_it = (
        sum(p.numel() for p in NonAutoregressiveDecoderLayer(settings, positional=positional).parameters())
        for positional in (False, True)
    )
    assert with_it - without == 4 * 8 * 8 + 4 * 8 + 2 * 8  # four products with bias, one norm
