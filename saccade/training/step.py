"""One update of the weights as a value: the loop knows no more of it than this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from saccade.training.batch import Share
from saccade.training.distributed import Group
from saccade.training.settings import TrainingConfig


@dataclass(frozen=True)
class UpdateResult:
    """What an update did.

    loss: nats a target token before the update, over all processes. applied: False if it was not finite.
    """

    loss: float
    tokens: int
    gradient_norm: float
    applied: bool


class Step(Protocol):
    """Forward, backward, clipping and the optimiser, on batches of any number and shape."""

    @property
    def micro_batches(self) -> int:
        """Into how many parts lack of memory makes it split each batch; 1 at the start of a run."""
        ...

    def __call__(self, shares: Sequence[Share[Any]], *, rate: float) -> UpdateResult:
        """Updates the weights once, at a learning rate, from this process's shares of the batches.

        Its gradient is that of the loss of all batches, over all processes, divided by all their target
        tokens. Raises UserError when memory does not suffice for a single row.
        """
        ...


class StepFactory(Protocol):
    """Makes the step of a run."""

    def __call__(
        self,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: Group,
        config: TrainingConfig,
        micro_batches: int,
    ) -> Step:
        """loss: maps a batch to its summed loss. micro_batches: where a resumed run stands."""
        ...
