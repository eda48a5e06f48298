"""Training to predict masked words from the others (CMLM, Ghazvininejad et al. 2019, section 2.2)."""

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

    Of a target of N words a number from 1 to N, each as likely, is masked at random. Outside training the
    masks are always the same for a batch, so that losses can be compared.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        scheme, source, target = MaskPredict(model), batch["source"], batch["target"]
        memory = model.encode(source.values, source.lengths)
        pieces, real = target.without_end()
        lengths = target.lengths - 1
        masked = random_masks(real, _generator(model, real.device))
        hidden = scheme.write(pieces.masked_fill(masked, scheme.mask), lengths, memory)
        words = linear_cross_entropy(
            hidden[masked], model.output.weight, None, pieces[masked], label_smoothing=self.label_smoothing
        )
        logits = scheme.length_logits(memory).float()
        total: Tensor = words + cross_entropy(logits, scheme.class_of(lengths, memory), reduction="sum")
        return total


def random_masks(real: Tensor, generator: torch.Generator | None) -> Tensor:
    """Which of the real words (rows, longest) are masked: k of N at random, k itself uniform on 1 to N."""
    lengths = real.sum(1)
    share = torch.rand(len(lengths), generator=generator, device=real.device)
    count = 1 + (share * lengths).long().minimum(lengths - 1)
    noise = torch.rand(real.shape, generator=generator, device=real.device)
    return lowest(noise, real, count)


def _generator(model: NonAutoregressiveTransformer, device: torch.device) -> torch.Generator | None:
    """The global one in training, which the training state keeps; one of its own elsewhere."""
    return None if model.training else torch.Generator(device).manual_seed(_SEED)
