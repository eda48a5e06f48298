from __future__ import annotations

import pytest
import torch

from saccade.nn.alibi import AlibiPositions, alibi_slopes
from saccade.nn.attention import attention_weights
from saccade.nn.masks import causal_mask
from tests.reference.positions import slope


def test_slopes_are_the_published_ones() -> None:
    """Section 3: 1/2 ... 1/256 for 8 heads; 16 heads interpolate them with ratio 1/sqrt(2)."""
    assert alibi_slopes(8).tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    sixteen = alibi_slopes(16)
    assert torch.equal(sixteen[1::2], alibi_slopes(8))
    torch.testing.assert_close(sixteen[1:] / sixteen[:-1], torch.full((15,), 0.5**0.5))


@pytest.mark.parametrize("heads", [1, 3, 8, 12])
def test_slopes_are_the_geometric_sequence_for_any_number_of_heads(heads: int) -> None:
    expected = torch.tensor([slope(head, heads) for head in range(1, heads + 1)])
    torch.testing.assert_close(alibi_slopes(heads), expected)


def test_the_bias_of_a_query_falls_linearly_with_distance() -> None:
    """The paper's figure 3, read off: the last query of four sees -3, -2, -1, 0 times the slope."""
    module = AlibiPositions(2)
    query = torch.zeros(1, 2, 4, 3)
    bias = module.bias(query, 4, offset=0)
    assert bias.shape == (2, 4, 4)
    for head, own in enumerate((2**-4, 2**-8)):
        assert (bias[head, 3] / own).tolist() == [-3, -2, -1, 0]
        assert (bias[head, 1] / own).tolist() == [-1, 0, -1, -2], "an encoder pays alike in both directions"
    assert torch.equal(module.bias(query[:, :, 3:], 4, offset=3), bias[:, 3:])


def test_causal_weights_equal_those_with_a_bias_of_the_key_alone() -> None:
    """-m (i - j) and m j differ by what is the same for all keys of a query, which the softmax ignores."""
    module = AlibiPositions(2).double()
    query, key = torch.randn(2, 1, 2, 6, 3, dtype=torch.float64)
    ours = attention_weights(query, key, causal=True, bias=module.bias(query, 6, offset=0))
    scores = query @ key.mT / 3**0.5 + module.slopes * torch.arange(6)
    expected = scores.masked_fill(~causal_mask(6, 6), -torch.inf).softmax(-1)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_nothing_is_learned_or_stored() -> None:
    module = AlibiPositions(4)
    assert not list(module.parameters())
    assert module.state_dict() == {}
