"""Training to predict masked words from the other words (CMLM, Ghazvininejad et al. 2019, section 2.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from saccade.decoding.nonautoregressive.lowest import lowest
from saccade.models.nonautoregressive.mask_predict import MaskPredict
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.objective import Objective

_SEED = 20190904


@dataclass(frozen=True)
class MaskedCrossEntropy(Objective):
    """Cross-entropy of the masked words alone, plus that of the length.

    The number of masked words of a target of N words is uniform on 1 to N. Outside training the masks of a
    batch are always the same, so that losses can be compared.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        scheme, source, target = MaskPredict(model), batch["source"], batch["target"]
        memory = model.encode(source.values, source.lengths)
        pieces, real = target.without_end()
        lengths = target.lengths - 1
        masked = random_masks(real, _generator(model, real.device))
        shown = pieces.masked_fill(masked, scheme.mask)
        hidden = scheme.write(shown, lengths, memory)  # (batch, target, width)
        words = linear_cross_entropy(
            hidden[masked], model.output.weight, None, pieces[masked], label_smoothing=self.label_smoothing
        )
        logits = scheme.length_logits(memory).float()
        total: Tensor = words + cross_entropy(logits, scheme.class_of(lengths, memory), reduction="sum")
        return total


def random_masks(real: Tensor, generator: torch.Generator | None) -> Tensor:
    """A random mask (rows, longest) of k of the N real words of each row, with k uniform on 1 to N."""
    lengths = real.sum(1)
    share = torch.rand(len(lengths), generator=generator, device=real.device)
    count = 1 + (share * lengths).long().minimum(lengths - 1)
    noise = torch.rand(real.shape, generator=generator, device=real.device)
    return lowest(noise, real, count)


def _generator(model: NonAutoregressiveTransformer, device: torch.device) -> torch.Generator | None:
    """torch's global generator in training, whose state is saved; a new one with a fixed seed otherwise."""
    return None if model.training else torch.Generator(device).manual_seed(_SEED)
