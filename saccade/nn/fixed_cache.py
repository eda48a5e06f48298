"""A decoding past of fixed size, in which hypotheses have ancestors and never move.

Each hypothesis of a sentence writes the keys and values of its tokens into places of its own. Which of them
belong to a hypothesis is said by its ancestors; attention sees the places of all hypotheses of a sentence and
hides the others. All sizes and addresses stay the same, so that a GPU can replay a recorded step.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Ancestry:
    """What the layers share. step (): number of the present column, counted from 0.

    ancestors (sentences, hypotheses, columns): the place, among those of its sentence, of the hypothesis that
    wrote each column of a hypothesis.
    """

    step: Tensor
    ancestors: Tensor
    _visible: dict[int | None, Tensor] = field(default_factory=dict)

    @classmethod
    def empty(cls, sentences: int, hypotheses: int, columns: int, *, device: torch.device) -> "Ancestry":
        """The ancestry before the first token."""
        shape = (sentences, hypotheses, columns)
        return cls(
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros(shape, dtype=torch.int64, device=device),
        )

    def begin(self) -> None:
        """Begins a step: each hypothesis writes the present column in its own place."""
        sentences, hypotheses, _ = self.ancestors.shape
        own = torch.arange(hypotheses, device=self.step.device)[:, None].expand(sentences, -1, -1)
        self.ancestors.index_copy_(2, self.step[None], own)
        self._visible.clear()

    def follow(self, parent: Tensor) -> None:
        """Ends a step: new hypothesis h continues the old one at place parent[s, h].

        parent (sentences, hypotheses).
        """
        index = parent[..., None].expand_as(self.ancestors)
        self.ancestors.copy_(self.ancestors.gather(1, index))
        self.step.add_(1)

    def visible(self, window: int | None) -> Tensor:
        """Mask (sentences, 1, hypotheses, hypotheses * columns) of the places that belong to a hypothesis.

        window: number of columns before the present one that it sees; None: all.
        """
        if window not in self._visible:
            _, hypotheses, columns = self.ancestors.shape
            places = torch.arange(hypotheses, device=self.step.device)[:, None]
            column = torch.arange(columns, device=self.step.device)
            seen = column <= self.step
            if window is not None:
                seen = seen & (column >= self.step - window)
            own = (self.ancestors[:, :, None] == places) & seen  # (sentences, hypotheses, places, columns)
            self._visible[window] = own.flatten(2)[:, None]
        return self._visible[window]


@dataclass(frozen=True)
class FixedCache:
    """One layer's past. keys, values: (sentences, heads, hypotheses, columns, head width)."""

    keys: Tensor
    values: Tensor
    ancestry: Ancestry

    @classmethod
    def empty(cls, ancestry: Ancestry, heads: int, head_width: int, *, like: Tensor) -> "FixedCache":
        """An empty past. Zeros, because values that attention hides must still be finite."""
        sentences, hypotheses, columns = ancestry.ancestors.shape
        shape = (sentences, heads, hypotheses, columns, head_width)
        return cls(like.new_zeros(shape), like.new_zeros(shape), ancestry)

    def by_sentence(self, x: Tensor) -> Tensor:
        """x (rows, heads, 1, head width) as (sentences, heads, hypotheses, head width)."""
        hypotheses = self.ancestry.ancestors.size(1)
        grid: Tensor = x[:, :, 0].unflatten(0, (-1, hypotheses)).transpose(1, 2)
        return grid

    def write(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the present column, (sentences, heads, hypotheses, head width); returns all places.

        Keys and values are (sentences, heads, hypotheses * columns, head width).
        """
        column = self.ancestry.step[None]
        self.keys.index_copy_(3, column, key[:, :, :, None].to(self.keys.dtype))
        self.values.index_copy_(3, column, value[:, :, :, None].to(self.values.dtype))
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)
