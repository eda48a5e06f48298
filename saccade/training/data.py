"""The order of training: which batches make which update, decided by seed and epoch alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedPairs


@dataclass(frozen=True)
class TrainingPairs:
    """Batches of sentence pairs. `pairs_of` gives the encoded pairs of an epoch, sampled anew or not."""

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

    def _batch(self, pairs: EncodedPairs, indices: NDArray[np.int64]) -> Batch:
        return collate(pairs, indices, pad=self.vocabulary.pad, start=self.vocabulary.start)
