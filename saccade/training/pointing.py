"""The objective of pointer networks: cross-entropy over the inputs."""

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from saccade.models.families import Pointer
from saccade.text.batching import Batch
from saccade.text.pointing import SOURCE, TARGET
from saccade.training.objective import Objective


class PointerCrossEntropy(Objective):
    """Minus the log-probability of each position of the answer, and of its end, with teacher forcing.

    In nats, summed over positions. Targets are not smoothed, because an answer has one right position.
    """

    def __call__(self, model: Pointer[Any, Any], batch: Batch) -> Tensor:
        """See `Objective`."""
        source, target = batch[SOURCE], batch[TARGET]
        memory = model.encode(source.values, source.lengths)
        read = target.shifted(model.vocabulary.start).values
        logits = model.decode(read, memory)  # (batch, target, 1 + source)
        real = target.real  # (batch, target)
        return cross_entropy(logits[real].float(), target.values[real], reduction="sum")
