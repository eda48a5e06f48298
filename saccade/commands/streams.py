"""Standard streams of a process that may be closed, or whose other end may go away while it works."""

import errno
import io
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

NOBODY_READS = 141
"""Exit code when the reader of standard output is gone, as if SIGPIPE had ended the process."""

_GONE = {errno.EPIPE, errno.EIO}  # the reader of a pipe; a terminal


class _Output(io.FileIO):
    """Standard output, which ends the process when nobody reads it or nothing can be written.

    Python's own would raise an error wherever something is printed, and print another one at exit.
    """

    _ended = False

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            while not self._ended:
                written: int | None = super().write(data)
                if written is not None:
                    return written
                select.select([], [self], [])  # the pipe is full, and its other end does not want us to wait
        except OSError as error:
            self._ended = True
            if error.errno in _GONE:
                raise SystemExit(NOBODY_READS) from None
            message = f"Error: cannot write: {error.strerror}. Free some space and try again."
            typer.echo(message, err=True)
            raise SystemExit(2) from None
        return memoryview(data).nbytes


class _Messages(io.FileIO):
    """Standard error, whose messages are dropped when nobody can read them, because the work goes on."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def settle_streams() -> None:
    """Makes this process independent of who reads what it writes, and of its terminal. For programs only.

    A closed stream gets a placeholder: the next file to be opened would take its number, and what libraries
    print would be written to it. `sys.stdin` and `sys.stdout` stay None then. The signal that says that the
    terminal is gone is ignored.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        _hold_place(number, mode)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout = _text(_Output(1, "w", closefd=False), like=sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), like=sys.stderr)


def _text(raw: io.FileIO, *, like: TextIO | None) -> TextIO:
    buffer = io.BufferedWriter(raw)
    if not isinstance(like, io.TextIOWrapper):
        return io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True)
    return io.TextIOWrapper(
        buffer,
        like.encoding,
        like.errors,
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )


def _hold_place(number: int, mode: int) -> None:
    """Opens the null device in place of a closed stream, for the wrong direction: its use stays an error."""
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, mode)
        os.dup2(handle, number)
        if handle != number:
            os.close(handle)
        os.set_inheritable(number, True)
