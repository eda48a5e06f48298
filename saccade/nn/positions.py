"""Where a token stands: sinusoids and learned positions ("Attention Is All You Need", 3.5)."""

from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["interleaved", "halves"]


def sinusoids(length: int, width: int, *, layout: Layout = "interleaved") -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/width)), PE(pos, 2i+1) = cos(same), as (length, width) float32.

    Computed in float64: a float32 table drifts by 4e-4 at position 5,000. `halves` puts all sines
    before all cosines, as Marian does.
    """
    if width % 2:
        raise ValueError(f"sinusoids need an even width, got {width}")
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position * 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    parts = torch.stack([angle.sin(), angle.cos()], dim=-1)
    table = parts.flatten(1) if layout == "interleaved" else parts.transpose(1, 2).flatten(1)
    return table.float()


class SinusoidalPositions(nn.Module):
    """Adds sinusoids; any length, the table grows as needed."""

    table: Tensor

    def __init__(self, width: int, *, layout: Layout = "interleaved", length: int = 512) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.register_buffer("table", sinusoids(length, width, layout=layout), persistent=False)

    def forward(self, x: Tensor, *, start: int = 0) -> Tensor:
        """x (..., length, width), whose first position is `start`; returns x + positions."""
        end = start + x.size(-2)
        if end > self.table.size(0):
            length = 2 ** (end - 1).bit_length()
            # A tensor made in inference mode could not take part in training afterwards.
            with torch.inference_mode(False):
                self.table = sinusoids(length, x.size(-1), layout=self.layout).to(self.table)
        return x + self.table[start:end]


class LearnedPositions(nn.Module):
    """Adds a learned vector for each of `length` positions; there is nothing beyond them."""

    def __init__(self, width: int, *, length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.table, std=width**-0.5)

    def forward(self, x: Tensor, *, start: int = 0) -> Tensor:
        """x (..., length, width), whose first position is `start`; returns x + positions."""
        end = start + x.size(-2)
        if end > self.table.size(0):
            raise ValueError(f"the model has {self.table.size(0)} learned positions, {end} are needed")
        return x + self.table[start:end]
