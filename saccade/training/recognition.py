"""The objective of recognisers: cross-entropy of the text and, with a second output layer, CTC."""

from dataclasses import dataclass

from torch import Tensor

from saccade.models.families import Recogniser
from saccade.nn.ctc_loss import Slots, linear_ctc
from saccade.text.batching import Batch
from saccade.training.objective import CrossEntropy


@dataclass(frozen=True)
class TranscriptLoss(CrossEntropy):
    """(1 - ctc) times the decoder's cross-entropy plus ctc times the encoder's CTC loss (Watanabe et al.
    2017, eq. 14), in nats, summed over a batch.

    A text that is longer than the encoder's positions has no CTC loss.
    """

    ctc: float = 0.0

    def __call__(self, model: Recogniser, batch: Batch) -> Tensor:  # type: ignore[override]
        """See `Objective`."""
        source, target = batch["source"], batch["target"]
        memory = model.body.encode(source.values, source.lengths)
        loss = self.given(model.body, batch, memory)
        if model.ctc is None or not self.ctc:
            return loss
        ids, _ = target.without_end()
        slots = Slots(memory.states, ids, model.positions(source.lengths), target.lengths - 1)
        return (1 - self.ctc) * loss + self.ctc * linear_ctc(slots, model.ctc.weight, blank=int(target.pad))
