"""Training data: the batches of each update, determined by seed and epoch alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade.text.batching import Batch, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.shapes import Shape, Shapes
from saccade.training.batch import Share

PlannedT = TypeVar("PlannedT")


class TrainingData(Protocol):
    """The interface of training data, which is the same each time a run starts."""

    def epoch(self, epoch: int, *, done: int, fixed: bool) -> Iterator[Sequence[Any]]:
        """The batches (`TrainingBatch`) of each update of an epoch, without its first `done` updates.

        fixed: whether the batches have a few shapes, which suits a GPU, or only as much padding as they need.
        Every process calls this when the epoch begins. Another thread may then advance the iterator ahead of
        the updates; results of earlier updates that the batches need are added by `attach`.
        """
        ...

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        """The shares of the next update, completed with the results of the update before."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The state to save besides epoch and `done`. All processes must call this."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores the result of `state`, before `epoch` continues in the middle of an epoch.

        Raises ValueError for what `state` cannot have returned.
        """
        ...


@dataclass(frozen=True)
class TrainingLines:
    """Batches of independent encoded lines. Satisfies `TrainingData`.

    lines_of: returns the lines of an epoch, which may be segmented differently each time; every process calls
    it when the epoch begins. collate: makes a batch of some lines. sides: the columns whose lengths determine
    the size of a batch. shapes: makes the shapes of fixed batches; None: batches are never fixed.
    """

    lines_of: Callable[[int], EncodedLines]
    collate: Callable[[EncodedLines, NDArray[np.int64]], Batch]
    sides: Sequence[str]
    batch_tokens: int
    accumulate: int
    seed: int
    shapes: Callable[[], Shapes] | None = None

    def epoch(self, epoch: int, *, done: int, fixed: bool = False) -> Iterator[Sequence[Batch]]:
        """The batches of each update of an epoch, without its first `done` updates."""
        lines = self.lines_of(epoch)
        lengths = [lines[side].lengths for side in self.sides]
        if fixed and self.shapes is not None:
            shaped = self.shapes().plan(*lengths, seed=self.seed, epoch=epoch)
            return self._updates(shaped, done, lambda planned: self._filled(lines, *planned))
        plan = plan_batches(*lengths, batch_tokens=self.batch_tokens, seed=self.seed, epoch=epoch)
        return self._updates(plan, done, lambda rows: self.collate(lines, rows))

    def _updates(
        self, plan: Sequence[PlannedT], done: int, make: Callable[[PlannedT], Batch]
    ) -> Iterator[Sequence[Batch]]:
        firsts = range(done * self.accumulate, len(plan), self.accumulate)
        return ([make(planned) for planned in plan[first : first + self.accumulate]] for first in firsts)

    def _filled(self, lines: EncodedLines, rows: NDArray[np.int64], shape: Shape) -> Batch:
        batch = self.collate(lines, rows)
        return batch.filled(shape.rows, dict(zip(self.sides, shape.lengths, strict=True)))

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        """The shares unchanged, because batches do not depend on earlier updates."""
        return shares

    def state(self) -> dict[str, Tensor]:
        """An empty state, because epoch and `done` determine the batches."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Accepts an empty state; see `state`."""
        if state:
            raise ValueError(f"carried/{min(state)} belongs to other training data")
