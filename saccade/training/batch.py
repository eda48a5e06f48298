"""The interface of training batches, which the loader and the step use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import torch


class TrainingBatch(Protocol):
    """Rows from which an objective can be computed, all together or a part at a time."""

    @property
    def target_tokens(self) -> int:
        """Number of target tokens, by which the loss is divided."""
        ...

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The batch on a device."""
        ...

    def pin(self) -> Self:
        """The batch in page-locked memory, from which a copy to a GPU does not block."""
        ...

    def take(self, rows: slice | Sequence[int]) -> Self:
        """A batch with some of the rows."""
        ...


BatchT = TypeVar("BatchT", bound=TrainingBatch)


@dataclass(frozen=True)
class Share(Generic[BatchT]):
    """One process's rows of a batch."""

    batch: BatchT
    weight: float
    """Weight of the loss of these rows: 0.0 in a process without rows, which computes a row of another
    process because all processes must take part in an update."""
    target_tokens: int
    """Number of target tokens of the whole batch, over all processes."""

    def pin(self) -> "Share[BatchT]":
        """The share in page-locked memory."""
        return replace(self, batch=self.batch.pin())
