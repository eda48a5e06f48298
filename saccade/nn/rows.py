"""The assignment of a decoding batch's rows to its sentences.

A row is a hypothesis. The rows of a sentence are adjacent; their number may differ between sentences.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowLayout:
    """The number of rows of each sentence. `grid` and `flat` are views if all have equally many."""

    counts: tuple[int, ...]

    @classmethod
    def even(cls, sentences: int, width: int) -> "RowLayout":
        """A layout in which each of `sentences` has `width` rows."""
        return cls((width,) * sentences)

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return len(self.counts)

    @cached_property
    def width(self) -> int:
        """Number of rows of the sentence that has most."""
        return max(self.counts)

    @cached_property
    def rows(self) -> int:
        """Number of rows of all sentences."""
        return sum(self.counts)

    @cached_property
    def uniform(self) -> bool:
        """Whether all sentences have equally many rows."""
        return self.rows == self.width * len(self.counts)

    def joined(self, other: "RowLayout") -> "RowLayout":
        """These sentences followed by those of `other`."""
        return RowLayout(self.counts + other.counts)

    def grid(self, x: Tensor) -> Tensor:
        """x (rows, ...) arranged by sentence, (sentences, width, ...); empty places repeat the last row."""
        if self.uniform:
            return x.view(len(self.counts), self.width, *x.shape[1:])
        return x[self._places.to(x.device)]

    def flat(self, x: Tensor) -> Tensor:
        """The rows (rows, ...) of x (sentences, width, ...), the inverse of `grid`."""
        if self.uniform:
            return x.flatten(0, 1)
        return x.flatten(0, 1)[self._real.to(x.device)]

    def spread(self, x: Tensor) -> Tensor:
        """x (sentences, ...) repeated for each row of its sentence: (rows, ...)."""
        return x if self.width == 1 else x.repeat_interleave(self._counted.to(x.device), 0)

    @cached_property
    def _counted(self) -> Tensor:
        return torch.tensor(self.counts)

    @cached_property
    def _places(self) -> Tensor:
        """The row at each place of the grid, (sentences, width)."""
        first = self._counted.cumsum(0) - self._counted
        return first[:, None] + torch.arange(self.width).minimum(self._counted[:, None] - 1)

    @cached_property
    def _real(self) -> Tensor:
        """The places of the flattened grid that hold a row, (rows,)."""
        return (torch.arange(self.width) < self._counted[:, None]).flatten().nonzero().flatten()


@dataclass(frozen=True)
class Rows:
    """A selection of rows that continue a batch.

    index (rows,): the old row that each new row continues. sentences (new sentences,): the old sentence that
    each new one is; None if all stay in place. layout: the layout of the new rows.
    """

    index: Tensor
    sentences: Tensor | None
    layout: RowLayout
