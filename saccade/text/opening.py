"""Opening of text files as bytes: regular files, pipes and standard input, plain or compressed.

What a file is, its first bytes say (`formats`). A pipe is opened once and read once; `kept` copies what has
to be read several times.
"""

import io
import os
import shlex
import shutil
import stat
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from saccade.distribution import missing
from saccade.errors import DamagedFile, InputError, NotFound, UserError
from saccade.text.formats import HEAD, Compression, compression, no_text, undecided
from saccade.text.standard_input import standard_input

STANDARD_INPUT = Path("-")
"""The name that stands for standard input wherever a text file is named."""

_STANDARD = {"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"}


def is_standard_input(path: Path) -> bool:
    """Whether a path names standard input."""
    return str(path) in _STANDARD


def shown(path: Path) -> str:
    """The name of a text file in messages."""
    return "standard input" if is_standard_input(path) else str(path)


def reads_once(path: Path) -> bool:
    """Whether what a path names can be read only once: standard input, a pipe or a terminal."""
    return _stream(path) is not None


def refuse_shared(paths: Mapping[str, Iterable[Path]]) -> None:
    """Raises UserError if two of these names stand for the same pipe, or both for standard input.

    paths: the files by what names them ("--source", "data.source").
    """
    seen: dict[object, str] = {}
    for name, files in paths.items():
        for path in files:
            stream = _stream(path)
            if stream is None:
                continue
            if stream in seen:
                both = name if seen[stream] == name else f"{seen[stream]} and {name}"
                raise InputError(
                    f"{both} name the same input twice, {shown(path)}, which can be read only once. Save it "
                    "to a file first."
                )
            seen[stream] = name


def require_files(paths: Iterable[Path]) -> None:
    """Raises UserError for an input that can be read only once, where it has to be read several times."""
    for path in paths:
        if reads_once(path):
            raise InputError(
                f"{shown(path)}: can be read only once, but is needed several times. Save it to a file first."
            )


def kept(paths: Mapping[str, Sequence[Path]], folder: Path) -> dict[str, tuple[Path, ...]]:
    """Copies what can be read only once into `folder`; returns the files by the same names, copies in place.

    Pipes are read at the same time, because one program may write into several of them. Raises UserError if
    something cannot be read, or is named twice.
    """
    refuse_shared(paths)
    copies = {
        (name, number): folder / f"{name}-{number}"
        for name, files in paths.items()
        for number, path in enumerate(files, start=1)
        if reads_once(path)
    }
    if copies:
        folder.mkdir(parents=True, exist_ok=True)
        _copy_all([(paths[name][number - 1], copy) for (name, number), copy in copies.items()])
    return {
        name: tuple(copies.get((name, number), path) for number, path in enumerate(files, start=1))
        for name, files in paths.items()
    }


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a text file as bytes, unpacked if it is compressed: a regular file, a pipe, or "-".

    Of a pipe, a line is there as soon as it is complete. Raises UserError if the file cannot be read, is
    neither a file nor a pipe, is damaged, or is recognised as something other than UTF-8 text.
    """
    packed: Compression | None = None
    try:
        with as_stored(path) as raw, _peeked(raw) as (stream, head):
            packed = compression(head)
            if packed is None:
                _require_text(path, head)
                yield stream
                return
            with _decompressor(stream, packed, path) as inner, _peeked(inner) as (text, first):
                _require_text(path, first)
                yield text
    except EOFError as error:
        raise DamagedFile(
            f"{shown(path)}: the {packed} data are cut off; fetch or pack the file again."
        ) from error
    except zlib.error as error:
        raise _damaged(path, packed, error) from error
    except OSError as error:
        if packed is not None and error.errno is None:
            raise _damaged(path, packed, error) from error
        raise unreadable(path, error) from error
    except Exception as error:
        if type(error).__name__ in ("LZMAError", "ZstdError"):  # of modules that may be missing
            raise _damaged(path, packed, error) from error
        raise


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path}: no such file.")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: a folder; a text file is needed here.")
    if isinstance(error, PermissionError):
        return NotFound(f"{path}: not allowed to read it; check its permissions.")
    return InputError(f"{shown(path)}: cannot be read: {error.strerror or error}.")


def _stream(path: Path) -> object | None:
    """What identifies the stream that a path names; None for files that can be read again."""
    if is_standard_input(path):
        return "standard input"
    try:
        found = path.stat()
        once = stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode) or _is_terminal(path, found)
    except (OSError, ValueError):  # reported when it is opened
        return None
    return (found.st_dev, found.st_ino) if once else None


def _is_null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == Path(os.devnull).stat().st_rdev


def _is_terminal(path: Path, found: os.stat_result) -> bool:
    if not stat.S_ISCHR(found.st_mode):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def as_stored(path: Path) -> Iterator[BinaryIO]:
    """Opens the bytes of a file, of a pipe or of standard input as they are.

    Raises UserError for anything else, and OSError if it cannot be read.
    """
    if is_standard_input(path):
        yield standard_input()
        return
    try:
        found = path.stat()
    except ValueError as error:  # a NUL character
        raise NotFound(f"{str(path)!r}: not the name of a file.") from error
    device = stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode)
    if device and not _is_null(found) and not _is_terminal(path, found):
        raise InputError(f"{path}: a device; a text file is needed here.")
    with path.open("rb", buffering=HEAD) as stream:
        yield stream


class _Replayed(io.RawIOBase):
    """A stream of which the first bytes have been read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, cast(io.BufferedIOBase, rest)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        if not self._head:
            return self._rest.readinto1(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size] = self._head[:size]
        self._head = self._head[size:]
        return size


@contextmanager
def _peeked(stream: BinaryIO) -> Iterator[tuple[BinaryIO, bytes]]:
    """A stream and its first bytes, which it still yields; waits for as few bytes as it takes to decide."""
    source = cast(io.BufferedIOBase, stream)
    head = more = source.read1(HEAD)
    while more and undecided(head):
        more = source.read1(HEAD)
        head += more
    again = io.BufferedReader(_Replayed(head, stream), buffer_size=HEAD)
    yield cast(BinaryIO, again), head


def _decompressor(stream: BinaryIO, packed: Compression, path: Path) -> BinaryIO:
    try:
        match packed:
            case "gzip":
                import gzip

                return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
            case "xz":
                import lzma

                return cast(BinaryIO, lzma.LZMAFile(stream, format=lzma.FORMAT_XZ))
            case "bzip2":
                import bz2

                return cast(BinaryIO, bz2.BZ2File(stream))
            case "Zstandard":
                return _zstandard(stream)
    except ModuleNotFoundError as error:
        if packed == "Zstandard":
            raise missing(
                f"{shown(path)}: compressed with Zstandard, which this Python cannot unpack", "zstd"
            ) from error
        raise InputError(
            f"{shown(path)}: compressed with {packed}, which this Python lacks. Unpack it."
        ) from error


def _zstandard(stream: BinaryIO) -> BinaryIO:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile
    else:
        from backports.zstd import ZstdFile
    return cast(BinaryIO, ZstdFile(stream))


def _require_text(path: Path, head: bytes) -> None:
    found = no_text(head)
    if found is not None:
        raise InputError(f"{shown(path)}: {found.replace('{file}', _in_shell(path))}")


def _in_shell(path: Path) -> str:
    return "FILE" if reads_once(path) else shlex.quote(str(path))


def _damaged(path: Path, packed: Compression | None, error: Exception) -> DamagedFile:
    reason = str(error).rstrip(".")
    return DamagedFile(
        f"{shown(path)}: the {packed} data are damaged: {reason}. Fetch or pack the file again."
    )


def _copy_all(pairs: Sequence[tuple[Path, Path]]) -> None:
    problems: list[BaseException] = []

    def copy(source: Path, target: Path) -> None:
        try:
            with ExitStack() as stack:
                try:
                    stream = stack.enter_context(as_stored(source))
                except OSError as error:
                    raise unreadable(source, error) from error
                shutil.copyfileobj(stream, stack.enter_context(target.open("wb")), HEAD)
        except (OSError, UserError) as error:
            problems.append(error)

    # Daemons, so that Ctrl-C ends the program while a pipe has no writer.
    threads = [threading.Thread(target=copy, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
