"""Inputs of numbers with positions as their answer: how their files are read, and their columns for a model.

A line holds the inputs, separated by blanks; the numbers of an input are separated by commas. If it has an
answer, a tab and the positions of inputs follow, counted from 1: "0.1,0.5 0.9,0.2 0.4,0.8<TAB>1 2 3".
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn
from saccade.text.opening import shown
from saccade.text.positions import END
from saccade.text.reading import numbered_lines

SOURCE, TARGET = "source", "target"
"""Names of the columns of inputs and of their answer, which ends with position 0."""
MOST_INPUTS = 1 << 15
"""Largest number of inputs of a line."""


class Task(NamedTuple):
    """The inputs and the answer of a line, as text, at the place file:line. answer: None if it has none."""

    inputs: str
    answer: str | None
    place: str


def read_tasks(path: Path, *, answers: bool) -> Iterator[Task]:
    """Yields the lines of a file. answers: whether each line has to have an answer.

    Without them, a line may still have one, which is passed over. Raises UserError, with the line, for a file
    that cannot be read, and for a line of another form.
    """
    with numbered_lines(path) as lines:
        for number, line in lines:
            place = f"{shown(path)}:{number}"
            inputs, *rest = line.split("\t")
            if len(rest) > 1 or (answers and not rest):
                raise InputError(
                    f"{place}: {len(rest) + 1} columns; a line must be the inputs, a tab and the positions "
                    "that answer them, counted from 1."
                )
            yield Task(inputs, rest[0] if rest else None, place)


def task_lines(path: Path) -> Iterator[Line]:
    """Yields the lines of a file as examples; see `read_tasks` for what it raises."""
    files = {SOURCE: path, TARGET: path}
    for number, one in enumerate(read_tasks(path, answers=True), start=1):
        yield Line({SOURCE: one.inputs, TARGET: one.answer or ""}, files, number)


def parse_inputs(text: str, *, numbers: int, place: str) -> NDArray[np.float32]:
    """The inputs (inputs, numbers) of a text.

    Raises UserError, naming the place, for an input without exactly this many finite numbers.
    """
    cells = text.split()
    rows = [cell.split(",") for cell in cells]
    try:
        if all(len(row) == numbers for row in rows) and len(rows) <= MOST_INPUTS:
            values = [float(number) for row in rows for number in row]
            with np.errstate(over="ignore"):
                found = np.array(values, dtype=np.float32).reshape(-1, numbers)
            if np.isfinite(found).all():
                return found
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{place}: {_wrong_inputs(cells, numbers)}")


def _wrong_inputs(cells: Sequence[str], numbers: int) -> str:
    """What is wrong with inputs that cannot be used."""
    if len(cells) > MOST_INPUTS:
        return f"{len(cells):,} inputs; at most {MOST_INPUTS:,} are possible."
    for position, cell in enumerate(cells, start=1):
        parts = cell.split(",")
        if len(parts) != numbers:
            return (
                f"input {position} is {cell[:40]!r}, which is {len(parts)} and not {numbers} numbers. "
                "Separate numbers by commas and inputs by blanks, or set model.numbers."
            )
        if not all(map(_is_number, parts)):
            return f"input {position} is {cell[:40]!r}; write numbers such as 0.25 or -3e4."
    return "a number is too large for float32."


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def parse_answer(text: str, *, inputs: int, place: str) -> list[int]:
    """The positions of an answer.

    Raises UserError, naming the place, for an answer that is empty, for a position without an input, and for
    an answer that is longer than a round through all inputs back to the first.
    """
    try:
        positions = [int(word) for word in text.split()]
    except ValueError:
        raise InputError(
            f"{place}: the answer {text.strip()[:40]!r} has to be whole numbers, separated by blanks: "
            "positions of inputs from 1."
        ) from None
    if not inputs:
        raise InputError(f"{place}: there are no inputs before the tab.")
    wrong = [position for position in positions if not 1 <= position <= inputs]
    if wrong:
        raise InputError(
            f"{place}: the answer has position {wrong[0]}, but the inputs have positions 1 to {inputs}."
        )
    if not 1 <= len(positions) <= inputs + 1:
        raise InputError(
            f"{place}: the answer has {len(positions)} positions for {inputs} inputs; from 1 to {inputs + 1} "
            "are possible."
        )
    return positions


def input_column(numbers: int) -> TextColumn:
    """The column of the inputs, which a model reads."""

    def encode(lines: Sequence[Line]) -> list[Any]:
        return [parse_inputs(line.texts[SOURCE], numbers=numbers, place=line.place(SOURCE)) for line in lines]

    return TextColumn(Column.numbers(SOURCE, np.float32, width=numbers), encode)


def task_columns(numbers: int) -> tuple[TextColumn, TextColumn]:
    """The columns of the inputs and of their answer."""

    def answer(line: Line) -> list[int]:
        count = len(line.texts[SOURCE].split())
        return [*parse_answer(line.texts[TARGET], inputs=count, place=line.place(TARGET)), END]

    def encode(lines: Sequence[Line]) -> list[Any]:
        return [np.array(answer(line), dtype=np.uint16) for line in lines]

    return input_column(numbers), TextColumn(Column.numbers(TARGET, np.uint16), encode)


def as_text(inputs: NDArray[np.float32]) -> str:
    """Inputs (inputs, numbers) as a line holds them, in as few digits as give the same numbers."""
    return " ".join(",".join(map(str, one)) for one in inputs)
