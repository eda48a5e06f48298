"""The interface of validation during training: its schedule and its scores."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from pydantic import PositiveInt

from saccade.config import Section


class Schedule(Protocol):
    """The part of `[validation]` that the loop uses: when to validate, and how checkpoints are ranked."""

    @property
    def every(self) -> int:
        """Number of updates between validations."""
        ...

    @property
    def patience(self) -> int | None:
        """Number of validations without a better score after which training stops; None: never."""
        ...

    @property
    def metric(self) -> str:
        """Name of the score that ranks checkpoints."""
        ...


class ValidationSchedule(Section):
    """The settings `[validation]` of every task."""

    changeable: ClassVar[frozenset[str]] = frozenset({"every", "patience"})

    every: PositiveInt = 1000
    """Number of updates between validations."""
    patience: PositiveInt | None = None
    """Number of validations without a better score after which training stops; unset: it runs all steps."""


@dataclass(frozen=True)
class ValidationScores:
    """The scores of every task. loss: nats per token without smoothing; perplexity: its exponential."""

    loss: float
    perplexity: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"loss {self.loss:.3f}"

    def value(self, metric: str) -> float:
        """The value of a metric, with the sign that makes greater values better."""
        value: float = getattr(self, metric)
        return -value if metric == "loss" else value
