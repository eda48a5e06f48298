"""ALiBi: attention scores reduced in proportion to distance (Press et al. 2022, "Train Short, Test Long")."""

import torch
from torch import Tensor

from saccade.nn.attention import AttentionPositions
from saccade.nn.positions import distances


def alibi_slopes(heads: int) -> Tensor:
    """The slopes 2^(-8h/heads) of heads h = 1 ... heads, from 1/2 to 1/256 with 8 heads; (heads,) float32.

    This is the paper's rule (section 3) for any number of heads. Its authors' code uses another sequence if
    that number is not a power of 2.
    """
    head = torch.arange(1, heads + 1, dtype=torch.float64)
    return torch.pow(2.0, -8 * head / heads).float()


class AlibiPositions(AttentionPositions):
    """Adds a fixed bias to scores: score(i, j) = q_i k_j / sqrt(d) - slope |i - j|.

    In the paper attention is causal and i - j is never negative. In an encoder both directions have the same
    bias, which therefore does not distinguish earlier from later positions.
    """

    slopes: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(heads)[:, None, None], persistent=False)

    def bias(self, query: Tensor, keys: int, *, offset: int) -> Tensor:
        """See `AttentionPositions.bias`: (heads, query, key)."""
        distance = distances(query.size(-2), keys, offset=offset, device=query.device).abs()
        return -self.slopes * distance
