"""Training with known fertilities (Gu et al. 2018, section 3.3, equation 9)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from saccade.models.nonautoregressive.fertility import Fertility
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.objective import Objective


@dataclass(frozen=True)
class FertilityCrossEntropy(Objective):
    """Cross-entropy of the target pieces given the fertilities, plus that of the fertilities themselves.

    Without smoothing it is -log p(fertilities) - log p(target | fertilities). A fertility above the model's
    greatest is clamped for its own loss; the decoder still reads a copy for each target piece.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        scheme = Fertility(model)
        source, fertilities = batch["source"], batch["fertilities"].values
        memory = model.encode(source.values, source.lengths)
        hidden, _ = scheme.write(fertilities, memory)  # (batch, longest, width)
        pieces, real = batch["target"].without_end()
        words = linear_cross_entropy(
            hidden[real], model.output.weight, None, pieces[real], label_smoothing=self.label_smoothing
        )
        counted = scheme.has_fertility(memory)  # (batch, source)
        logits = scheme.logits(memory)[counted].float()  # (source pieces, classes)
        labels = fertilities[counted].clamp(max=logits.size(1) - 1)
        total: Tensor = words + cross_entropy(logits, labels, reduction="sum")
        return total
