"""Rotary positions: queries and keys rotated by their position (RoFormer, Su et al. 2021, section 3.2)."""

import torch
from torch import Tensor

from saccade.nn.attention import AttentionPositions
from saccade.nn.positions import SinusoidalPositions


def rotate(x: Tensor, *, sine: Tensor, cosine: Tensor) -> Tensor:
    """Rotates each pair of channels (2i, 2i+1) of x (..., d) by an angle given by sine and cosine (..., d/2).

    This is equation 34 of the paper, which pairs neighbours. (Many implementations pair channel i with
    i + d/2; that is the same model with the channels of a head in another order.)
    """
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1)
    return rotated.flatten(-2).to(x.dtype)


class RotaryPositions(AttentionPositions):
    """Rotates pair i at position m by m theta_i, theta_i = 10000^(-2i/d) (equations 15 and 34).

    d is the width of a head, i counts from 0. The product of a rotated query and a rotated key depends on
    their contents and their distance alone (equation 16). Values are not rotated.
    """

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.angles = SinusoidalPositions(head_width, layout="halves")  # its angles are m theta_i

    def reserve(self, end: int) -> None:
        """See `AttentionPositions.reserve`."""
        self.angles.reserve(end)

    def place(self, query: Tensor, key: Tensor, *, start: int | Tensor) -> tuple[Tensor, Tensor]:
        """See `AttentionPositions.place`."""
        rows = self.angles.rows(start, query.size(-2))
        # Heads share the angles of their row.
        sine, cosine = (rows if rows.dim() == 2 else rows[:, None]).chunk(2, -1)
        return rotate(query, sine=sine, cosine=cosine), rotate(key, sine=sine, cosine=cosine)
