"""Arguments that are lists of lines: a single string, or an item that is no string, is refused.

A string is itself a sequence of strings, its characters. Without this check, a call with one string would
treat each character as a line.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from saccade.errors import InputError


def require_lines(lines: Iterable[str], name: str) -> list[str]:
    """The lines as a list. name: the argument's name in messages.

    Raises TypeError for a single string or bytes, for a mapping or set, which has no order, and for anything
    that is not iterable; and, with its index, for an item that is not a string.
    """
    require_many(lines, name)
    found = lines if isinstance(lines, list) else list(lines)
    for index, line in enumerate(found):
        if not isinstance(line, str):
            raise _not_text(line, f"{name}[{index}]")
    return found


def require_pairs(sources: Iterable[str], targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Both sides of sentence pairs as lists; see `require_lines`. Raises UserError for unequal counts."""
    pairs = require_lines(sources, "sources"), require_lines(targets, "targets")
    if len(pairs[0]) != len(pairs[1]):
        raise InputError(
            f"{len(pairs[0]):,} source lines, but {len(pairs[1]):,} target lines: line N of one belongs to "
            "line N of the other."
        )
    return pairs


def require_many(lines: object, name: str) -> None:
    """Raises TypeError for an argument that is not several lines; the items are not looked at."""
    if isinstance(lines, str):
        shown = repr(lines if len(lines) <= 40 else f"{lines[:37]}...")
        raise TypeError(f"{name} is a single str; give a list with one str for each line: [{shown}].")
    if isinstance(lines, bytes | bytearray | memoryview):
        raise TypeError(f"{name} is {type(lines).__name__}; decode it and give a list with one str a line.")
    if isinstance(lines, Mapping | AbstractSet):
        raise TypeError(f"{name} is a {type(lines).__name__}, which has no order; give a list of str.")
    if not isinstance(lines, Iterable):
        raise TypeError(f"{name} is {_kind(lines)}; give a list with one str for each line.")


def checked_lines(lines: Iterable[str], name: str) -> Iterator[str]:
    """The lines as they come; the argument itself should have passed `require_many`.

    Raises TypeError, with its index, for an item that is not a string, when that item is reached.
    """
    for index, line in enumerate(lines):
        if not isinstance(line, str):
            raise _not_text(line, f"{name}[{index}]")
        yield line


def prefixed(
    chunks: Iterable[Sequence[str]], prefixes: Sequence[str] | None
) -> Iterator[tuple[int, Sequence[str], Sequence[str] | None]]:
    """For each chunk of lines: the number of its first line, from 0, the lines, and their prefixes.

    Raises UserError unless there is one prefix for each line.
    """
    first = 0
    for lines in chunks:
        end = first + len(lines)
        if prefixes is not None and len(prefixes) < end:
            raise InputError(
                f"there are {len(prefixes):,} prefixes but more lines: each line needs one prefix."
            )
        yield first, lines, None if prefixes is None else prefixes[first:end]
        first = end
    if prefixes is not None and first < len(prefixes):
        raise InputError(
            f"there are {len(prefixes):,} prefixes but {first:,} lines: each line needs one prefix."
        )


def require_text(text: object, name: str) -> None:
    """Raises TypeError if an argument that is one text is not a string."""
    if not isinstance(text, str):
        raise _not_text(text, name)


def _not_text(value: Any, name: str) -> TypeError:
    advice = "; decode it first" if isinstance(value, bytes | bytearray) else ""
    return TypeError(f"{name} is {_kind(value)}, not str{advice}.")


def _kind(value: object) -> str:
    if value is None:
        return "None"
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:37] + '...'}"
