"""The order of training: which batches make which update, decided by seed and epoch alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saccade.text.batching import Batch, plan_batches
from saccade.text.cache import EncodedLines
from saccade.training.batch import Share


class TrainingData(Protocol):
    """What a run is trained on, the same at each start."""

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Any]]:
        """The batches (`TrainingBatch`) of each update of an epoch, without its first `done` updates.

        Every process calls this when the epoch begins. Another thread may then run the iterator, ahead of
        the updates; batches may lack what earlier updates leave for them.
        """
        ...

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        """The shares of the next update with what the update before has left for it."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on besides epoch and `done`, to be saved. All processes ask."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, before `epoch` continues in the middle of one."""
        ...


@dataclass(frozen=True)
class TrainingLines:
    """Batches of encoded lines that know nothing of each other. Satisfies `TrainingData`.

    lines_of: the lines of an epoch, always the same ones or segmented differently each time; every process
    calls it when the epoch begins. collate: makes a batch of some of them. sides: the columns whose lengths
    decide how much a batch takes.
    """

    lines_of: Callable[[int], EncodedLines]
    collate: Callable[[EncodedLines, NDArray[np.int64]], Batch]
    sides: Sequence[str]
    batch_tokens: int
    accumulate: int
    seed: int

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Batch]]:
        """The batches of each update of an epoch, without its first `done` updates."""
        lines = self.lines_of(epoch)
        lengths = [lines[side].lengths for side in self.sides]
        plan = plan_batches(*lengths, batch_tokens=self.batch_tokens, seed=self.seed, epoch=epoch)
        firsts = range(done * self.accumulate, len(plan), self.accumulate)
        return (
            [self.collate(lines, rows) for rows in plan[first : first + self.accumulate]] for first in firsts
        )

    def attach(self, shares: list[Share[Any]]) -> list[Share[Any]]:
        """Nothing is left for the next update."""
        return shares

    def state(self) -> dict[str, Tensor]:
        """Nothing besides epoch and `done`."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `state`."""
