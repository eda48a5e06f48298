"""The interface of a training step, which performs one update of the weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from saccade.training.batch import Share
from saccade.training.distributed import Group
from saccade.training.objective import Loss
from saccade.training.settings import TrainingConfig


@dataclass(frozen=True)
class UpdateResult:
    """The result of an update. Satisfies `Outcome`.

    loss: nats per target token before the update, over all processes. applied: False if loss or gradient was
    not finite and the update was skipped.
    """

    loss: float
    tokens: int
    gradient_norm: float
    applied: bool

    ready = True

    def read(self) -> "UpdateResult":
        """Returns itself."""
        return self


class Outcome(Protocol):
    """The interface of what a step returns: a result, or one that the device is still computing."""

    @property
    def ready(self) -> bool:
        """Whether `read` returns at once."""
        ...

    @property
    def tokens(self) -> int:
        """Number of target tokens of the update."""
        ...

    @property
    def applied(self) -> bool | Tensor:
        """Whether the weights were changed: a tensor () on the device if that is not known here yet."""
        ...

    def read(self) -> UpdateResult:
        """The result; waits for the device if need be."""
        ...


class Step(Protocol):
    """The interface of a step: forward, backward, clipping and the optimiser, for any number of batches."""

    @property
    def micro_batches(self) -> int:
        """Number of parts each batch is split into after an out-of-memory error; 1 at the start of a run."""
        ...

    @property
    def fixed_shapes(self) -> bool:
        """Whether the batches should have a few shapes, see `TrainingData.epoch`."""
        ...

    def __call__(self, shares: Sequence[Share[Any]], *, rate: float) -> Outcome:
        """Updates the weights once at learning rate `rate`, from this process's shares of the batches.

        The gradient is that of the summed loss of all batches, over all processes, divided by the number of
        their target tokens. Raises UserError if a single row does not fit into memory.
        """
        ...


class StepFactory(Protocol):
    """The interface of functions that make the step of a run."""

    def __call__(
        self,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        config: TrainingConfig,
        micro_batches: int,
        say: Callable[[str], None],
    ) -> Step:
        """Makes a step. loss: maps a batch to its summed loss. micro_batches: see `Step.micro_batches`. say:
        shows a message."""
        ...
