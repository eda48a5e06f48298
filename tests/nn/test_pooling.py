"""Attention that pools a sequence, against a plain loop."""

from __future__ import annotations

import torch

from saccade.models.recording import record_attention
from saccade.nn.pooling import AttentionPooling


def test_each_head_is_a_weighted_sum_of_its_part_of_the_values() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(6, heads=2).double()
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    lengths = [4, 2]
    visible = (torch.arange(4) < torch.tensor(lengths)[:, None])[:, None, None]
    found = pooling(x, visible=visible)
    for row, length in enumerate(lengths):
        parts = []
        for head in range(2):
            scores = torch.stack(
                [
                    pooling.queries.weight[head] @ (pooling.hidden.weight @ one + pooling.hidden.bias).tanh()
                    for one in x[row, :length]
                ]
            )
            values = [
                (pooling.value.weight @ one + pooling.value.bias)[3 * head : 3 * head + 3] for one in x[row]
            ]
            weights = scores.exp() / scores.exp().sum()
            parts.append(sum(weights[place] * values[place] for place in range(length)))
        torch.testing.assert_close(found[row], torch.cat(parts))


def test_recorded_weights_have_one_query_and_sum_to_one() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(6, heads=2)
    visible = torch.tensor([[True, True, False]])[:, None, None]
    with record_attention(pooling) as maps:
        pooling(torch.randn(1, 3, 6), visible=visible)
    [one] = maps.values()
    assert (one.kind, tuple(one.weights.shape)) == ("cross", (1, 2, 1, 3))
    torch.testing.assert_close(one.weights.sum(-1), torch.ones(1, 2, 1))
    assert not one.weights[..., 2].any()
