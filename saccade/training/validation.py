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


_NOTHING = 0.005
"""Scores below this one are printed as 0.00."""


def says_nothing(value: float | None, metric: str) -> bool:
    """Whether a score cannot rank checkpoints, as BLEU while no sequence of four tokens is right yet.

    value: as `ValidationScores.value` returns it; None: there is no score yet.
    """
    return metric != "loss" and value is not None and value < _NOTHING


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

    def compared(self, metric: str, best: float | None, best_loss: float | None) -> tuple[bool, bool]:
        """Whether these scores are progress, and whether their checkpoint becomes the best.

        best, best_loss: value and loss of the best checkpoint so far, None if there is none. As long as the
        metric says nothing, the loss decides. Among equals the later one becomes the best, because on an easy
        task a score may be perfect long before training is done; that is no progress.
        """
        value = self.value(metric)
        if best is None:
            return True, True
        if says_nothing(value, metric) and says_nothing(best, metric):
            lower = best_loss is None or self.loss < best_loss
            return lower, lower
        return value > best, value >= best
