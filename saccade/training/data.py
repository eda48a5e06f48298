"""The order of training: which batches make which update, decided by seed and epoch alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedPairs


class TrainingBatch(Protocol):
    """Rows that an objective can be computed of, all together or some at a time."""

    @property
    def target_tokens(self) -> int:
        """What the loss is divided by."""
        ...

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The batch on a device."""
        ...

    def take(self, rows: slice | Sequence[int]) -> Self:
        """Some of the rows."""
        ...


class TrainingData(Protocol):
    """What a run is trained on, the same at each start."""

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Any]]:
        """The batches (`TrainingBatch`) of each update of an epoch, without its first `done` updates."""
        ...

    def carried(self) -> dict[str, Tensor]:
        """What the next update depends on besides epoch and `done`, to be saved. All processes ask."""
        ...

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Put back what `carried` gave, before `epoch` goes on in the middle of one."""
        ...


@dataclass(frozen=True)
class TrainingPairs:
    """Batches of sentence pairs. `pairs_of` gives the encoded pairs of an epoch, sampled anew or not.

    Satisfies `TrainingData`.
    """

    pairs_of: Callable[[int], EncodedPairs]
    vocabulary: Vocabulary
    batch_tokens: int
    accumulate: int
    seed: int

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Batch]]:
        """The batches of each update of an epoch, without its first `done` updates."""
        pairs = self.pairs_of(epoch)
        plan = plan_batches(
            pairs.source_lengths,
            pairs.target_lengths,
            batch_tokens=self.batch_tokens,
            seed=self.seed,
            epoch=epoch,
        )
        for first in range(done * self.accumulate, len(plan), self.accumulate):
            yield [self._batch(pairs, indices) for indices in plan[first : first + self.accumulate]]

    def carried(self) -> dict[str, Tensor]:
        """Nothing: pairs know nothing of each other."""
        return {}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """See `carried`."""

    def _batch(self, pairs: EncodedPairs, indices: NDArray[np.int64]) -> Batch:
        return collate(pairs, indices, pad=self.vocabulary.pad, start=self.vocabulary.start)
