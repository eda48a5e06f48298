"""What the loader and the step know of a batch, whatever it holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import torch


class TrainingBatch(Protocol):
    """Rows from which an objective can be computed, all together or some at a time."""

    @property
    def target_tokens(self) -> int:
        """What the loss is divided by."""
        ...

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The batch on a device."""
        ...

    def pin(self) -> Self:
        """The batch in page-locked memory, from which a copy to a GPU does not block."""
        ...

    def take(self, rows: slice | Sequence[int]) -> Self:
        """Some of the rows."""
        ...


BatchT = TypeVar("BatchT", bound=TrainingBatch)


@dataclass(frozen=True)
class Share(Generic[BatchT]):
    """One process's rows of a batch."""

    batch: BatchT
    weight: float
    """What the loss of these rows counts for: 0.0 in a process that has none and computes a row of another
    one, because all processes must take part in an update."""
    target_tokens: int
    """Target tokens of the whole batch, over all processes."""

    def pin(self) -> "Share[BatchT]":
        """The share in page-locked memory."""
        return replace(self, batch=self.batch.pin())
