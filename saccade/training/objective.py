"""What training minimises: an objective maps (model, batch) to a loss summed over target tokens."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from saccade.models.interface import LanguageModel, Parallel, Seq2Seq
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.training.fertility import FertilityCrossEntropy
from saccade.training.fine_tuning import FineTuning
from saccade.training.glancing import GlancingCtc
from saccade.training.masked import MaskedCrossEntropy
from saccade.training.streams import Segments

LABEL_SMOOTHING = 0.1
"""The default for autoregressive models ("Attention Is All You Need", section 5.4). It
raises perplexity."""
GLANCING = (0.5, 0.3)
"""See `GlancingCtc.share`."""


class Objective(Protocol):
    """The update divides once by its target tokens, so k small batches equal one large batch."""

    def __call__(self, model: Any, batch: Any) -> Tensor:
        """Summed loss in nats over the batch's `target_tokens`; model: of the kind that this is for."""
        ...


@runtime_checkable
class Scheduled(Protocol):
    """An objective that changes in the course of training."""

    def at(self, done: float) -> None:
        """Called before each update with the share of all updates that are done."""
        ...


def objective_of(
    network: object,
    *,
    label_smoothing: float | None,
    glancing: tuple[float, float] | None = None,
    teacher: Seq2Seq | None = None,
    fine_tuning: float = 0.0,
) -> Objective:
    """What a model of its kind minimises: the one place where that is chosen.

    None: as is usual for the kind. teacher: whose judgement has the weight `fine_tuning`, where not 0.
    """
    if isinstance(network, LanguageModel):
        return NextToken(label_smoothing or 0.0)
    if not isinstance(network, Parallel):
        return CrossEntropy(LABEL_SMOOTHING if label_smoothing is None else label_smoothing)
    smoothing = label_smoothing or 0.0
    if network.scheme == "mask-predict":
        return MaskedCrossEntropy(smoothing)
    if network.scheme == "ctc":
        return GlancingCtc(GLANCING if glancing is None else glancing, smoothing)
    likelihood = FertilityCrossEntropy(smoothing)
    if teacher is None or not fine_tuning:
        return likelihood
    return FineTuning(likelihood, teacher, fine_tuning)


@dataclass(frozen=True)
class CrossEntropy:
    """Teacher forcing with smoothed targets ("Attention Is All You Need", section 5.4)."""

    label_smoothing: float = 0.0

    def __call__(self, model: Seq2Seq, batch: Batch) -> Tensor:
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
class NextToken:
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
