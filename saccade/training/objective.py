"""Training objectives, which map (model, batch) to a loss summed over target tokens."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Seq2Seq
from saccade.nn.copy_attention import CopyingOutput
from saccade.nn.loss import linear_cross_entropy, projected_cross_entropy
from saccade.nn.masked_loss import RowLoss, masked_cross_entropy, softmax_loss
from saccade.text.batching import Batch
from saccade.training.streams import Segments

LABEL_SMOOTHING = 0.1
"""Default label smoothing of autoregressive models ("Attention Is All You Need", section 5.4). It raises
perplexity."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Compiler = Callable[[FunctionT], FunctionT]
"""Makes a compiled form of a function."""


class Objective(ABC):
    """The interface of objectives. Losses are sums, so that k small batches equal one large batch."""

    reads_modules: ClassVar[bool] = False
    """Whether it looks into the modules of the model, which a compiled one does not show."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> Tensor:
        """The summed loss in nats over the batch's `target_tokens`, for a model of the objective's family."""

    def at(self, done: float) -> None:  # noqa: B027 - most do not change during training
        """Receives, before each update, the share of all updates that are done."""

    def compiled(self, compiler: Compiler[Any]) -> Self:  # noqa: ARG002 - most have nothing to compile
        """The objective with its own functions compiled."""
        return self


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy with teacher forcing and smoothed targets ("Attention Is All You Need", section 5.4)."""

    label_smoothing: float = 0.0
    row_loss: RowLoss = softmax_loss

    def __call__(self, model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
        """See `Objective`."""
        source = batch["source"]
        return self.given(model, batch, model.encode(source.values, source.lengths))

    def given(self, model: Seq2Seq[Any, Any], batch: Batch, memory: Any) -> Tensor:
        """The loss of a batch whose source is encoded in `memory`."""
        target = batch["target"]
        hidden = model.decode(batch["target_in"].values, memory)  # (batch, target, width)
        return _token_loss(self, model.output, hidden, target.values, target.real)

    def compiled(self, compiler: Compiler[Any]) -> Self:
        """See `Objective.compiled`."""
        return replace(self, row_loss=compiler(self.row_loss))


@dataclass(frozen=True)
class NextToken(Objective):
    """Cross-entropy of each token given those before it, whose memory passes to the next segment."""

    label_smoothing: float = 0.0
    row_loss: RowLoss = softmax_loss

    def __call__(self, model: LanguageModel, batch: Segments) -> Tensor:
        """See `Objective`."""
        hidden, memory = model.read(batch.tokens, batch.memory)  # (rows, length, width)
        batch.carry(memory)
        return _token_loss(self, model.output, hidden, batch.gold, batch.gold != batch.pad)

    def compiled(self, compiler: Compiler[Any]) -> Self:
        """See `Objective.compiled`."""
        return replace(self, row_loss=compiler(self.row_loss))


def _token_loss(
    objective: CrossEntropy | NextToken, output: nn.Linear, hidden: Tensor, gold: Tensor, real: Tensor
) -> Tensor:
    """The loss of hidden states (batch, length, width) at the positions that are real, (batch, length).

    On a CPU, padding is removed before the output layer. Elsewhere its logits cost less than finding out, on
    the host, where it is.
    """
    smoothing = objective.label_smoothing
    if isinstance(output, CopyingOutput):
        return projected_cross_entropy(
            output, hidden[real], gold[real], classes=output.out_features, label_smoothing=smoothing
        )
    if hidden.device.type == "cpu" and not torch.compiler.is_compiling():
        return linear_cross_entropy(
            hidden[real], output.weight, output.bias, gold[real], label_smoothing=smoothing
        )
    return masked_cross_entropy(
        hidden,
        output.weight,
        output.bias,
        gold,
        real,
        label_smoothing=smoothing,
        row_loss=objective.row_loss,
    )


class Loss(nn.Module):
    """Model and objective as one module, so that DDP and torch.compile can wrap the whole forward pass."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Any) -> Tensor:
        """The summed loss of a batch, a scalar."""
        return self.objective(self.model, batch)
