"""Encoding of text into a cache, a chunk at a time; unusable lines are left out and counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from saccade.errors import UserError
from saccade.text.cache import EncodedLines
from saccade.text.cache_writer import write_cache
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.report import SplitTally

CHUNK = 10_000  # lines
RATIO_FREE = 10  # positions; the ratio of lengths means little if the longer side has no more

Encoded = list[Any]
"""The values of several lines in one column: ids or numbers; with a width, arrays (positions, width)."""
Item = TypeVar("Item")


def _fits(line: Line, values: Mapping[str, Any]) -> None:
    """Accepts every line."""


@dataclass(frozen=True)
class TextColumn:
    """A column whose values are computed from text."""

    column: Column
    encode: Callable[[Sequence[Line]], Encoded]
    """Function that returns the values of several lines, including end symbols."""
    check: Callable[[Line, Mapping[str, Any]], None] = _fits
    """Function of a line and its values in all columns, which raises UserError if they are inconsistent."""


class Limits(NamedTuple):
    """Limits of a line in the columns `sides`, in positions including end symbols; see `DataConfig`.

    least: number of positions below which a line is empty: 2 if there is an end symbol.
    """

    sides: Sequence[str]
    max_length: int
    max_ratio: float = float("inf")
    least: int = 2

    def problem(self, lengths: Sequence[int]) -> str:
        """The reason why a line of these lengths in `sides` cannot be used, or ""."""
        shorter, longer = min(lengths), max(lengths)
        if shorter < self.least:  # perhaps only the end symbol: normalisation left nothing
            return "empty"
        if longer > self.max_length:
            return "too long"
        if longer - 1 > RATIO_FREE and longer - 1 > self.max_ratio * (shorter - 1):
            return "length ratio"
        return ""


class EncodedChunk(NamedTuple):
    """The usable lines of a chunk. kept: their indices in the chunk; values: by column."""

    kept: list[int]
    lines: list[Line]
    values: dict[str, list[Any]]


def encode_split(
    lines: Iterable[Line],
    folder: Path,
    *,
    columns: Sequence[TextColumn],
    limits: Limits,
    tally: SplitTally,
    held_out: frozenset[int] = frozenset(),
    look: Callable[[int, EncodedChunk], None],
    accept: Callable[[], None],
) -> EncodedLines:
    """Writes the usable lines, without those of index `held_out`, as a cache, and counts them in `tally`.

    look: called with the number of lines before each chunk, and the chunk. accept: called when all lines are
    written; if it raises an error, no cache is left.
    """
    with write_cache(folder, [text.column for text in columns]) as writer:
        for chunk in chunks(lines, CHUNK):
            first = tally.read
            tally.read += len(chunk)
            candidates = [i for i in range(len(chunk)) if first + i not in held_out]
            tally.held_out += len(chunk) - len(candidates)
            encoded = _encode_chunk(chunk, candidates, columns=columns, limits=limits, tally=tally)
            writer.add(encoded.values)
            look(first, encoded)
        accept()
    return EncodedLines.open(folder)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields lists of `size` consecutive items; the last one may be shorter."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def _encode_chunk(
    chunk: Sequence[Line],
    candidates: Iterable[int],
    *,
    columns: Sequence[TextColumn],
    limits: Limits,
    tally: SplitTally,
) -> EncodedChunk:
    readable = []
    for i in candidates:
        if chunk[i].problem:
            tally.drop(chunk[i].problem, chunk[i])
        else:
            readable.append(i)
    found: dict[str, Sequence[Any]] = {
        text.column.name: text.encode([chunk[i] for i in readable]) for text in columns
    }
    encoded = EncodedChunk([], [], {name: [] for name in found})
    for number, i in enumerate(readable):
        values = {name: lines[number] for name, lines in found.items()}
        if problem := limits.problem([len(values[side]) for side in limits.sides]):
            tally.drop(problem, chunk[i])
            continue
        _check(chunk[i], values, columns)
        encoded.kept.append(i)
        encoded.lines.append(chunk[i])
        for name, value in values.items():
            encoded.values[name].append(value)
    return encoded


def _check(line: Line, values: Mapping[str, Any], columns: Sequence[TextColumn]) -> None:
    for text in columns:
        text.check(line, values)
        name, other = text.column.name, text.column.aligned_with
        if other is not None and len(values[name]) != len(values[other]):
            raise UserError(
                f"{line.place(name)}: {len(values[name])} {name} for the {len(values[other])} positions of "
                f"{other}. Correct the line: it needs one for each."
            )
