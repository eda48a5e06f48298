"""What commands say about lines that were not translated, and about translations that are doubtful."""

from collections import Counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from saccade.use.results import Problem, Translation

SHOWN = 20
"""Number of lines that are named for each problem; the others are only counted."""


class ProblemReport:
    """Names lines with problems on standard error while a text is translated, and counts them at the end.

    name: what the lines belong to, if a command translates with several models.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = "" if name is None else f"{name}: "
        self._seen: Counter[str] = Counter()
        self._lines = self._failed = self._doubtful = 0

    def at(self, number: int, result: "Translation") -> None:
        """Takes note of the translation of a line, whose number counts from 1."""
        self._lines += 1
        if not result.problems:
            return
        self._failed += result.failed
        self._doubtful += not result.failed
        shown = [one for one in result.problems if self._counted(one)]
        if shown:
            text = "; ".join(one.message for one in shown)
            typer.echo(f"{self._name}line {number}: {text}", err=True)

    @property
    def counts(self) -> dict[str, int]:
        """The number of lines with each problem, by its code, the most frequent first."""
        return dict(self._seen.most_common())

    def end(self) -> None:
        """Prints the numbers of lines with problems, if there are any."""
        parts = []
        if self._failed:
            parts.append(f"{self._failed:,} of {self._lines:,} lines were not translated")
        if self._doubtful:
            parts.append(f"{self._doubtful:,} of {self._lines:,} translations are doubtful")
        if parts:
            counts = ", ".join(f"{code} {count:,}" for code, count in self._seen.most_common())
            typer.echo(f"{self._name}{' and '.join(parts)}: {counts}", err=True)

    def _counted(self, problem: "Problem") -> bool:
        """Counts a problem; returns whether its line is still to be named."""
        self._seen[problem.code] += 1
        return self._seen[problem.code] <= SHOWN
