"""An experiment as a value: what is claimed, how it is measured, and what the figures say about it."""

import inspect
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Language = Literal["en", "zh"]
Outcome = Literal["holds", "only if", "does not hold"]
Figures = Mapping[str, Any]
"""What was measured, in JSON types: numbers, lists and tables by name."""

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Words:
    """A text in English and Chinese."""

    en: str
    zh: str

    def in_(self, language: Language) -> str:
        """The text in one language."""
        return self.en if language == "en" else self.zh


def plain(text: str) -> Words:
    """A text that is the same in every language, such as a symbol or a name."""
    return Words(text, text)


@dataclass(frozen=True)
class Verdict:
    """What the figures say about a claim, and why in one or two sentences that quote them."""

    outcome: Outcome
    because: Words


@dataclass(frozen=True)
class Settings:
    """How thoroughly an experiment measures.

    small: sizes that take a second or so, for tests of the machinery and not for conclusions; seeds: random
    seeds of everything that is trained or drawn; say: receives a line of progress.
    """

    small: bool = False
    seeds: tuple[int, ...] = (1, 2, 3)
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)

    def pick(self, full: int, small: int) -> int:
        """One of two sizes."""
        return small if self.small else full


@dataclass(frozen=True)
class Series:
    """A curve or a group of bars: a value for each position of the chart's axis, None if not measured.

    ends: the lowest and the highest value over seeds at each position.
    """

    name: Words
    values: Sequence[float | None]
    ends: Sequence[tuple[float, float]] | None = None


@dataclass(frozen=True)
class Chart:
    """A picture as data. bars: positions are categories; otherwise curves over numbers.

    panels: each position is a quantity with an axis of its own; only for bars.
    """

    x: Words
    y: Words
    positions: Sequence[float | str | Words]
    series: Sequence[Series]
    bars: bool = False
    panels: bool = False
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Table:
    """Examples as a table of texts: a head and rows of equal length."""

    head: Sequence[Words]
    rows: Sequence[Sequence[Words]]


@dataclass(frozen=True)
class Code:
    """The line of the library that a claim is about: the one line of `where` that contains `line`."""

    where: Callable[..., Any]
    line: str

    def place(self) -> tuple[str, int, str]:
        """The file from the package on, the line's number and the line. Raises ValueError if it is gone."""
        function = inspect.unwrap(self.where)
        lines, first = inspect.getsourcelines(function)
        for number, text in enumerate(lines):
            if self.line in text:
                file = Path(inspect.getsourcefile(function) or "").relative_to(PACKAGE.parent)
                return file.as_posix(), first + number, text.strip()
        raise ValueError(f"{self.where.__qualname__} has no line with {self.line!r}")


@dataclass(frozen=True)
class Experiment:
    """A claim and its measurement.

    claim, source, prediction: one sentence each; correction: what should be said instead. `judge` is a pure
    function of the figures, and so are `chart`, which draws them, and `more`, which gives what else the page
    shows. seconds: about how many seconds of processor time it takes.
    """

    name: str
    title: Words
    claim: Words
    source: Words
    prediction: Words
    measure: Callable[[Settings], Figures]
    judge: Callable[[Figures], Verdict]
    chart: Callable[[Figures], Chart]
    correction: Words
    code: tuple[Code, ...]
    more: Callable[[Figures], Sequence[Chart | Table]] = lambda _: ()
    seconds: int = 1


def clearly_above(some: Sequence[float], others: Sequence[float]) -> bool:
    """Whether every seed of one side is above every seed of the other.

    With three seeds a side, chance alone does this once in 20 times.
    """
    return min(some) > max(others)


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return statistics.fmean(values)


def spread(values: Sequence[float]) -> float:
    """Half the range over seeds."""
    return (max(values) - min(values)) / 2


def over_seeds(name: Words, table: Sequence[Sequence[float]]) -> Series:
    """A series with a position for each row of the table, whose entries are seeds."""
    return Series(name, [mean(row) for row in table], [(min(row), max(row)) for row in table])


def number(value: float) -> str:
    """A number with three or four digits that mean something."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.1e}"
