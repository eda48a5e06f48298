"""Validation while training: when it happens, and what its scores are to the loop."""

from dataclasses import dataclass
from typing import Protocol

from pydantic import PositiveInt

from saccade.config import Section


class Schedule(Protocol):
    """When to validate, and what makes a checkpoint the best: all that the loop knows of `[validation]`."""

    @property
    def every(self) -> int:
        """Updates between validations."""
        ...

    @property
    def patience(self) -> int | None:
        """Validations without a better one before training stops; None: never."""
        ...

    @property
    def metric(self) -> str:
        """The name of what ranks checkpoints."""
        ...


class ValidationSchedule(Section):
    """Base of every task's `[validation]`."""

    every: PositiveInt = 1000
    """Updates between validations."""
    patience: PositiveInt | None = None
    """Stop after this many validations without a new best; unset: train all steps."""


@dataclass(frozen=True)
class ValidationScores:
    """Base of what validation finds. loss: nats a token without smoothing; perplexity: its exponential."""

    loss: float
    perplexity: float

    def line(self) -> str:
        """For the user."""
        return f"loss {self.loss:.3f}"

    def value(self, metric: str) -> float:
        """The chosen metric, turned so that more is better."""
        value: float = getattr(self, metric)
        return -value if metric == "loss" else value
