"""ALiBi: attention pays for distance ("Train Short, Test Long", Press et al. 2022, section 3)."""

import torch
from torch import Tensor

from saccade.nn.attention import AttentionPositions
from saccade.nn.positions import distances


def alibi_slopes(heads: int) -> Tensor:
    """2^(-8h/heads) for the heads h = 1 ... heads: 1/2 to 1/256 with eight of them. (heads,) float32.

    The paper's rule for any number of heads. Its authors' code has another sequence where that
    number is no power of 2.
    """
    head = torch.arange(1, heads + 1, dtype=torch.float64)
    return torch.pow(2.0, -8 * head / heads).float()


class AlibiPositions(AttentionPositions):
    """score(i, j) = q_i k_j / sqrt(d) - slope |i - j|; nothing is learned.

    The paper has causal attention, where i - j is never negative. An encoder looks both ways: here
    both ways cost the same, so that alone it cannot tell what comes before from what comes after.
    """

    slopes: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(heads)[:, None, None], persistent=False)

    def bias(self, query: Tensor, keys: int, *, offset: int) -> Tensor:
        """See `AttentionPositions.bias`: (heads, query, key)."""
        distance = distances(query.size(-2), keys, offset=offset, device=query.device).abs()
        return -self.slopes * distance
