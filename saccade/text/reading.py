"""Reading of text files line by line.

A line ends at "\\n" and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the
start of a file. Files are read as a stream; memory holds one line, of at most `LONGEST` bytes.
"""

import io
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from saccade.errors import InputError
from saccade.text.opening import opened, shown

LONGEST = 1 << 20
"""Number of bytes that a line may have, its end included: 1 MiB, a book of 200,000 words."""

_BLOCK = 1 << 16
_MARK = b"\xef\xbb\xbf"

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
    source = cast(io.BufferedIOBase, stream)
    mark, lost, rest = _MARK, False, bytearray()  # lost: the line that has begun is too long
    while block := source.read1(_BLOCK):
        end = block.rfind(b"\n")
        if end < 0:
            rest += block
            if len(rest) > LONGEST:
                lost = True
                rest.clear()
            continue
        rest += block[:end]
        data = bytes(rest).removeprefix(mark)
        mark, rest = b"", bytearray(block[end + 1 :])
        if lost or len(data) >= LONGEST:  # only the first line can be that long
            first, newline, data = data.partition(b"\n")
            if lost or len(first) >= LONGEST:
                yield "", TOO_LONG
            else:
                yield from _lines(first)
            lost = False
            if not newline:
                continue
        yield from _lines(data)
    if lost:
        yield "", TOO_LONG
    elif rest:
        yield from _lines(bytes(rest).removeprefix(mark))


def _lines(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the lines of some bytes. Decoding them all at once takes half the time."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        for line in data.split(b"\n"):
            yield _line(line.removesuffix(b"\r"))
        return
    if "\r" in text or "\0" in text:
        for part in text.split("\n"):
            yield part.removesuffix("\r"), NUL if "\0" in part else ""
        return
    for part in text.split("\n"):
        yield part, ""


def _line(line: bytes) -> tuple[str, str]:
    try:
        return line.decode(), NUL if b"\0" in line else ""
    except UnicodeDecodeError:
        return line.decode(errors="replace"), BAD_UTF8


def read_text(path: Path) -> list[str]:
    """All lines of a file; raises UserError if one has a problem or the file cannot be read."""
    return list(text_lines(path))


@contextmanager
def numbered_lines(path: Path) -> Iterator[Iterator[tuple[int, str]]]:
    """The lines of a file with their numbers, from 1, within a block; the file is closed at its end.

    A generator that is left with an error would keep the file open until it is collected.
    """
    with closing(text_lines(path)) as lines:
        yield enumerate(lines, start=1)


def text_lines(path: Path) -> Generator[str]:
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
