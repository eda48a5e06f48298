"""Reading of files from outside: plain files only, of bounded size; JSON and TOML of bounded depth.

Whatever a model folder, a run or a configuration contains is read here. A file may be damaged, or made to do
harm: a pipe that never ends, a device, an object that is nested 200,000 deep, a key that occurs twice, a
number that is not one.
"""

import errno
import json
import math
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from saccade.errors import DamagedFile, NotFound

SMALL = 1 << 22
"""Largest description or configuration, in bytes."""
LARGE = 1 << 26
"""Largest vocabulary or tokeniser, in bytes; those of NLLB have 17 and 32 MB."""
DEEPEST = 64
"""Greatest number of tables and lists inside one another."""

_DOTS = 4_000_000  # sum of the squares of the lines' dots; tomllib's time for a dotted key is quadratic
_POINTER = b"version https://git-lfs.github.com/spec/"


class NotUtf8Error(ValueError):
    """The error for a text that is not UTF-8."""


def is_plain(path: Path) -> bool:
    """Whether this is a plain file; False if that cannot be found out."""
    try:
        return path.is_file()
    except OSError:  # no permission
        return False


def require_plain(path: Path) -> None:
    """Checks that a file can be given to a library that opens it by name.

    Raises OSError if it does not exist or is a folder, a pipe or a device, and DamagedFile for the pointer
    that Git LFS puts in the place of a file.
    """
    with _plain(path) as stream:
        _refuse_pointer(path, stream.read(len(_POINTER)))


def read_bytes(path: Path, *, limit: int = LARGE, pipes: bool = False) -> bytes:
    """Reads a whole file; raises as `require_plain`, and ValueError if it has more than `limit` bytes.

    pipes: whether a pipe is read as well, which waits for the other end.
    """
    with path.open("rb") if pipes else _plain(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    _refuse_pointer(path, content)
    return content


def read_utf8(path: Path, *, limit: int = LARGE, pipes: bool = False) -> str:
    """The text of a file, see `read_bytes`; raises NotUtf8Error if it is not UTF-8.

    A byte order mark is left out: some Windows editors write one.
    """
    try:
        return read_bytes(path, limit=limit, pipes=pipes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUtf8Error(f"not UTF-8 at byte {error.start}") from error


def read_json(path: Path, *, limit: int = LARGE) -> Any:
    """Reads a JSON file. Raises as `read_utf8` and `parse_json`."""
    return parse_json(read_utf8(path, limit=limit))


def read_object(path: Path, *, advice: str, limit: int = SMALL) -> dict[str, Any]:
    """Reads a JSON object; raises NotFound or DamagedFile, whose message ends with `advice`."""
    try:
        content = read_json(path, limit=limit)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: missing. {advice}") from error
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path}: damaged: {reason(error)}. {advice}") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path}: damaged: it holds no JSON object. {advice}")
    return content


def reason(error: Exception) -> str:
    """The reason of an error in a few words, without the path and without a full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def parse_json(text: str) -> Any:
    """Parses JSON; raises ValueError, which also stands for great depth, repeated keys, NaN and infinity."""
    try:
        content = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite_number
        )
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    _check_depth(content)
    return content


def parse_toml(text: str) -> dict[str, Any]:
    """Parses TOML; raises ValueError, also for great depth."""
    if sum(line.count(".") ** 2 for line in text.splitlines()) > _DOTS:
        raise ValueError(_too_deep())
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    _check_depth(content)
    return content


@contextmanager
def _plain(path: Path) -> Iterator[BinaryIO]:
    """A plain file, opened without waiting for the other end of a pipe."""
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    ) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "a pipe or device, not a file", str(path))
        yield stream


def _refuse_pointer(path: Path, start: bytes) -> None:
    if start.startswith(_POINTER):
        raise DamagedFile(
            f"{path}: a pointer of Git LFS, not the file itself. Run `git lfs install` and `git lfs pull` in "
            "its repository, or download the file."
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{repeated[:40]!r} occurs twice in one object")
    return content


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST + 1):
        lists = (outer.values() if isinstance(outer, dict) else outer for outer in level if _holds(outer))
        level = [inner for values in lists for inner in values if _holds(inner)]
        if not level:
            return
    raise ValueError(_too_deep())


def _holds(content: Any) -> bool:
    return isinstance(content, dict | list)


def _too_deep() -> str:
    return f"tables or lists are nested more than {DEEPEST} deep"
