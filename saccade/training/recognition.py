"""The objective of recognisers: cross-entropy of the text, with frames as the source."""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from saccade.models.families import Recogniser
from saccade.text.batching import Batch
from saccade.training.objective import Compiler, CrossEntropy


@dataclass(frozen=True)
class TranscriptCrossEntropy(CrossEntropy):
    """The cross-entropy of a recogniser's body, in nats, summed over characters and end symbols."""

    def __call__(self, model: Recogniser, batch: Batch) -> Tensor:  # type: ignore[override]
        """See `Objective`."""
        return super().__call__(model.body, batch)

    def compiled(self, compiler: Compiler[Any]) -> Self:
        """See `Objective.compiled`."""
        return super().compiled(compiler)
