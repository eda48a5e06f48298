"""How the rows of a batch that is decoded belong to its sentences.

A row is a hypothesis. The rows of a sentence stand together, sentences may have different numbers of them.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowLayout:
    """How many rows each sentence has. `grid` and `flat` are views where all have equally many."""

    counts: tuple[int, ...]

    @classmethod
    def even(cls, sentences: int, width: int) -> "RowLayout":
        """Each of `sentences` has `width` rows."""
        return cls((width,) * sentences)

    @property
    def sentences(self) -> int:
        """How many sentences there are."""
        return len(self.counts)

    @cached_property
    def width(self) -> int:
        """Rows of the sentence that has most."""
        return max(self.counts)

    @cached_property
    def rows(self) -> int:
        """Rows of all sentences."""
        return sum(self.counts)

    @cached_property
    def uniform(self) -> bool:
        """Whether all sentences have equally many rows."""
        return self.rows == self.width * len(self.counts)

    def joined(self, other: "RowLayout") -> "RowLayout":
        """The sentences of `other` behind these."""
        return RowLayout(self.counts + other.counts)

    def grid(self, x: Tensor) -> Tensor:
        """x (rows, ...) by sentence, (sentences, width, ...); places without a row repeat the last row."""
        if self.uniform:
            return x.view(len(self.counts), self.width, *x.shape[1:])
        return x[self._places.to(x.device)]

    def flat(self, x: Tensor) -> Tensor:
        """The rows (rows, ...) of x (sentences, width, ...)."""
        if self.uniform:
            return x.flatten(0, 1)
        return x.flatten(0, 1)[self._real.to(x.device)]

    def spread(self, x: Tensor) -> Tensor:
        """x (sentences, ...), a value for each row of its sentence: (rows, ...)."""
        return x if self.width == 1 else x.repeat_interleave(self._counted.to(x.device), 0)

    @cached_property
    def _counted(self) -> Tensor:
        return torch.tensor(self.counts)

    @cached_property
    def _places(self) -> Tensor:
        """Which row stands at each place of the grid, (sentences, width)."""
        first = self._counted.cumsum(0) - self._counted
        return first[:, None] + torch.arange(self.width).minimum(self._counted[:, None] - 1)

    @cached_property
    def _real(self) -> Tensor:
        """Which places of the flattened grid hold a row, (rows,)."""
        return (torch.arange(self.width) < self._counted[:, None]).flatten().nonzero().flatten()


@dataclass(frozen=True)
class Rows:
    """How a batch goes on: which rows, of which sentences, in which order.

    index (rows,): the old row that each new one continues. sentences (new sentences,): which old sentence
    each new one is; None where all stay in their place. layout: of the new rows.
    """

    index: Tensor
    sentences: Tensor | None
    layout: RowLayout
