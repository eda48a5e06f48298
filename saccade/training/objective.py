"""Training objectives, which map (model, batch) to a loss summed over target tokens."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from saccade.models.families import LanguageModel, Seq2Seq
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.streams import Segments

LABEL_SMOOTHING = 0.1
"""Default label smoothing of autoregressive models ("Attention Is All You Need", section 5.4). It raises
perplexity."""


class Objective(ABC):
    """The interface of objectives. Losses are sums, so that k small batches equal one large batch."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> Tensor:
        """The summed loss in nats over the batch's `target_tokens`, for a model of the objective's family."""

    def at(self, done: float) -> None:  # noqa: B027 - most do not change during training
        """Receives, before each update, the share of all updates that are done."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy with teacher forcing and smoothed targets ("Attention Is All You Need", section 5.4)."""

    label_smoothing: float = 0.0

    def __call__(self, model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
        """See `Objective`. Padding is removed before the output layer, so that it has no logits."""
        source, target = batch["source"], batch["target"]
        memory = model.encode(source.values, source.lengths)
        hidden = model.decode(batch["target_in"].values, memory)  # (batch, target, width)
        real = target.real  # (batch, target)
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
    """Cross-entropy of each token given those before it, whose memory passes to the next segment."""

    label_smoothing: float = 0.0

    def __call__(self, model: LanguageModel, batch: Segments) -> Tensor:
        """See `Objective`. Positions behind the end of a stream have no logits."""
        hidden, memory = model.read(batch.tokens, batch.memory)  # (rows, length, width)
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
        """The summed loss of a batch, a scalar."""
        return self.objective(self.model, batch)
