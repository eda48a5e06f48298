"""Training of masked language models: blocks whose masks differ in each epoch, and the objective."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from saccade.models.families import MaskedLanguageModel
from saccade.nn.gathering import gathered
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.examples import SOURCE
from saccade.text.masked import GOLD, PLACES, Masking
from saccade.training.batch import Share
from saccade.training.objective import Objective


@dataclass(frozen=True)
class MaskedBlocks:
    """Batches of masked blocks. Satisfies `TrainingData`.

    The masks of a batch depend on seed, epoch and its number alone, so that a resumed run has the same ones,
    and several processes share a batch as one process would have it.
    """

    lines: EncodedLines
    masking: Masking
    batch_tokens: int
    accumulate: int
    seed: int

    def epoch(self, epoch: int, *, done: int) -> Iterator[Sequence[Batch]]:
        """The batches of each update of an epoch, without its first `done` updates."""
        lengths = self.lines[SOURCE].lengths
        plan = plan_batches(lengths, batch_tokens=self.batch_tokens, seed=self.seed, epoch=epoch)

        def batch(number: int) -> Batch:
            generator = np.random.default_rng((self.seed, epoch, number))
            return self.masking.apply(collate(self.lines, plan[number])[SOURCE], generator)

        firsts = range(done * self.accumulate, len(plan), self.accumulate)
        return (
            [batch(number) for number in range(first, min(first + self.accumulate, len(plan)))]
            for first in firsts
        )

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


@dataclass(frozen=True)
class MaskedPieces(Objective):
    """Cross-entropy of the chosen pieces, in nats, summed over them (Devlin et al. 2019, section 3.1)."""

    label_smoothing: float = 0.0

    def __call__(self, model: MaskedLanguageModel, batch: Batch) -> Tensor:
        """See `Objective`. Only the chosen places have logits."""
        gold = batch[GOLD]
        states = gathered(model.encode(batch[SOURCE]), batch[PLACES].values)  # (blocks, chosen, width)
        real = gold.real
        total: Tensor = linear_cross_entropy(
            model.hidden(states[real]),
            model.output.weight,
            model.output.bias,
            gold.values[real],
            label_smoothing=self.label_smoothing,
        )
        return total
