"""What training minimises: an objective maps (model, batch) to a loss summed over target tokens."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from saccade.models.families import LanguageModel, Seq2Seq
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.streams import Segments

LABEL_SMOOTHING = 0.1
"""The default for autoregressive models ("Attention Is All You Need", section 5.4). It
raises perplexity."""


class Objective(ABC):
    """The update divides once by its target tokens, so k small batches equal one large batch."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> Tensor:
        """The summed loss in nats over the batch's `target_tokens`, for a model of the objective's family."""

    def at(self, done: float) -> None:  # noqa: B027 - most do not change in the course of training
        """Hear, before each update, the share of all updates that are done."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Teacher forcing with smoothed targets ("Attention Is All You Need", section 5.4)."""

    label_smoothing: float = 0.0

    def __call__(self, model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
        """Padding is taken out before the output layer: no logits are formed for it."""
        source, target = batch["source"], batch["target"]
        hidden = model.decode(batch["target_in"].values, model.encode(source.values, source.lengths))
        real = target.real
        total: Tensor = linear_cross_entropy(
            hidden[real],
            model.output.weight,
            model.output.bias,
            target.values[real],
            label_smoothing=self.label_smoothing,
        )
        return total


@dataclass(frozen=True)
class NextToken(Objective):
    """Each token of running text given those before it; memory is carried to the next segment."""

    label_smoothing: float = 0.0

    def __call__(self, model: LanguageModel, batch: Segments) -> Tensor:
        """Where a stream has ended no logits are formed."""
        hidden, memory = model.read(batch.tokens, batch.memory)
        batch.carry(memory)
        real = batch.gold != batch.pad
        total: Tensor = linear_cross_entropy(
            hidden[real],
            model.output.weight,
            model.output.bias,
            batch.gold[real],
            label_smoothing=self.label_smoothing,
        )
        return total


class Loss(nn.Module):
    """Model and objective as one module, so that DDP and torch.compile can wrap the whole forward pass."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Any) -> Tensor:
        """Summed loss of a batch, a scalar."""
        return self.objective(self.model, batch)
