"""Reading of text files line by line.

A line ends at "\\n" and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the
start of a file. Files are read as a stream; memory holds one line, of at most `LONGEST` bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from saccade.errors import InputError
from saccade.text.opening import opened, shown

LONGEST = 1 << 20
"""Number of bytes that a line may have, its end included: 1 MiB, a book of 200,000 words."""

BAD_UTF8, TOO_LONG, NUL = "bad UTF-8", "longer than 1 MiB", "NUL characters"
"""The problems that a line can have."""

_ADVICE = {
    BAD_UTF8: "not UTF-8. Correct the line, or convert the file, for example with "
    "`iconv -f WINDOWS-1252 -t UTF-8` if that is its encoding.",
    TOO_LONG: "longer than 1 MiB. Split it into sentences, one a line.",
    NUL: "contains NUL characters. Correct the line.",
}


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields each line of a text file and its problem, or "".

    In a line with bad UTF-8, U+FFFD replaces the bad bytes; a line that is too long is "". A line is yielded
    as soon as the file has it whole. Raises UserError as `opened` does.
    """
    with opened(path) as stream:
        yield from decoded(stream)


def decoded(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    """Yields each line of a byte stream and its problem; see `read_lines`."""
    readline = stream.readline
    first = True
    while raw := readline(LONGEST + 1):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if first:
            line, first = line.removeprefix(b"\xef\xbb\xbf"), False
        if len(raw) > LONGEST:
            while not raw.endswith(b"\n") and (raw := readline(LONGEST)):
                pass
            yield "", TOO_LONG
            continue
        try:
            yield line.decode("utf-8"), NUL if b"\0" in line else ""
        except UnicodeDecodeError:
            yield line.decode("utf-8", errors="replace"), BAD_UTF8


def read_text(path: Path) -> list[str]:
    """All lines of a file; raises UserError if one has a problem or the file cannot be read."""
    return list(text_lines(path))


def text_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file; raises UserError at one that has a problem."""
    for number, (line, problem) in enumerate(read_lines(path), start=1):
        if problem:
            raise unusable(f"{shown(path)}:{number}", problem)
        yield line


def unusable(place: str, problem: str) -> InputError:
    """The error for a line with a problem, at the place file:line."""
    return InputError(f"{place}: {advice(problem)}")


def advice(problem: str) -> str:
    """What a problem of a line means, and what to do."""
    return _ADVICE[problem]
