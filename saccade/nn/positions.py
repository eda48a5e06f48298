"""Positions that are added to embeddings: sinusoids, learned vectors ("Attention Is All You Need", section
3.5) or none. Those that act inside attention are in `rotary.py`, `relative.py` and `alibi.py`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["interleaved", "halves", "fairseq"]

FAIRSEQ_FIRST = 2
"""The first position in fairseq, which counts from behind its padding id, 1."""


def sinusoids(length: int, width: int, *, layout: Layout = "interleaved") -> Tensor:
    """The table PE(pos, 2i) = sin(pos / 10000^(2i/width)), PE(pos, 2i+1) = cos(same), (length, width).

    It is float32 but computed in float64, without which it is off by 4e-4 at position 5,000. `halves` puts
    all sines before all cosines, as Marian does. `fairseq` does so too, with the exponent i/(width/2 - 1) of
    tensor2tensor, and its first position is number 2.
    """
    if width % 2:
        raise ValueError(f"sinusoids need an even width, got {width}")
    if layout == "fairseq" and width < 4:
        raise ValueError(f"sinusoids laid out as in fairseq need a width of 4 or more, got {width}")
    first, slowest = (FAIRSEQ_FIRST, width / 2 - 1) if layout == "fairseq" else (0, width / 2)
    position = first + torch.arange(length, dtype=torch.float64)[:, None]
    angle = position * 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / slowest)
    parts = torch.stack([angle.sin(), angle.cos()], dim=-1)
    table = parts.flatten(1) if layout == "interleaved" else parts.transpose(1, 2).flatten(1)
    return table.float()


class SinusoidalPositions(nn.Module):
    """Adds sinusoids to embeddings of any length; the table grows as needed."""

    table: Tensor

    def __init__(self, width: int, *, layout: Layout = "interleaved", length: int = 512) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.register_buffer("table", sinusoids(length, width, layout=layout), persistent=False)

    def forward(self, x: Tensor, *, start: int | Tensor = 0) -> Tensor:
        """Adds positions to x (batch, length, width).

        start: the first position, an int or for each row (batch,).
        """
        return x + self.rows(start, x.size(-2))

    def rows(self, start: int | Tensor, count: int) -> Tensor:
        """Positions from `start` on: (count, width), or (batch, count, width) for start (batch,).

        A start without axes is one position for all rows, which stays on the device; `reserve` has made room.
        """
        if isinstance(start, Tensor) and start.dim() == 0:
            return _rows(self.table, start, count)
        return _rows(
            self.reserve(count + (start if isinstance(start, int) else int(start.max()))), start, count
        )

    def reserve(self, end: int) -> Tensor:
        """A table of at least `end` positions."""
        table = self.table  # another thread may replace it, even with a shorter one
        if end > table.size(0):
            length = 2 ** (end - 1).bit_length()
            # A tensor made in inference mode could not be used in training later.
            with torch.inference_mode(False):
                table = sinusoids(length, table.size(1), layout=self.layout).to(table)
            self.table = table
        return table


class NoPositions(nn.Module):
    """Adds nothing, for models without positions or with positions inside attention."""

    def reserve(self, end: int) -> None:
        """Does nothing."""

    def forward(self, x: Tensor, *, start: int | Tensor = 0) -> Tensor:  # noqa: ARG002 - as its siblings
        """Returns x."""
        return x


class LearnedPositions(nn.Module):
    """Adds a learned vector for each of `length` positions, the most that a sequence may have."""

    def __init__(self, width: int, *, length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.table, std=width**-0.5)

    def forward(self, x: Tensor, *, start: int | Tensor = 0) -> Tensor:
        """See `SinusoidalPositions.forward`."""
        if not (isinstance(start, Tensor) and start.dim() == 0):
            self.reserve(x.size(-2) + (start if isinstance(start, int) else int(start.max())))
        return x + _rows(self.table, start, x.size(-2))

    def reserve(self, end: int) -> None:
        """Raises ValueError if the table has fewer than `end` positions."""
        if end > self.table.size(0):
            raise ValueError(f"the model has {self.table.size(0)} learned positions, {end} are needed")


def _rows(table: Tensor, start: int | Tensor, count: int) -> Tensor:
    """See `SinusoidalPositions.rows`."""
    if isinstance(start, int):
        return table[start : start + count]
    if start.dim() == 0:
        return table.index_select(0, start + torch.arange(count, device=start.device))
    return table[start[:, None] + torch.arange(count, device=start.device)]


def distances(queries: int, keys: int, *, offset: int, device: torch.device | None = None) -> Tensor:
    """The distances j - i from query i to key j, (queries, keys); negative for keys before the query.

    offset: the place of query 0 among the keys, 0 if queries and keys are the same sequence.
    """
    places = torch.arange(offset, offset + queries, device=device)
    return torch.arange(keys, device=device) - places[:, None]
