"""Where commands that work through a text line by line write, and how they show how far they are."""

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from saccade.errors import ConfigError, InputError, StorageError

CHUNK = 500
"""Lines translated together: enough to sort by length, few enough to show progress."""

STDIN, STDOUT = 0, 1
"""Standard streams among the files of `check_outputs`."""


def check_outputs(*outputs: Path | int | None, inputs: tuple[Path | int | None, ...] = ()) -> None:
    """Raises UserError, before any work, for an output that cannot be written or is also something else.

    A file must not be read and written, or written twice, under whatever name. Pipes, devices and terminals
    may. None stands for an option that was not given.
    """
    from saccade.storage.files import check_writable

    if STDIN in inputs and sys.stdin is None:
        raise InputError("standard input is closed: nothing to read. Give a file.")
    read = {_identity(one) for one in inputs if one is not None and _exists(one)} - {None}
    written: dict[tuple[int, int] | str | None, Path | int] = {}
    for one in outputs:
        if one is None:
            continue
        if isinstance(one, Path):
            check_writable(one)
        elif sys.stdout is None:
            raise StorageError("standard output is closed: nowhere to write.", topic="closed-output")
        file = _identity(one)
        if file in read:
            raise ConfigError(f"{_name(one)}: this file is also read. Write to another one.")
        if file is not None and file in written:
            raise ConfigError(f"{_name(one)} and {_name(written[file])} are one file. Write to two.")
        written[file] = one


def is_plain(file: Path | int) -> bool:
    """Whether it is a plain file, whose lines are all there. It may not exist."""
    return isinstance(_identity(file), tuple)


def _identity(file: Path | int) -> tuple[int, int] | str | None:
    """What is the same for all names of a file; None for what is no plain file."""
    try:
        about = file.stat() if isinstance(file, Path) else os.fstat(file)
    except OSError:
        return os.path.realpath(file) if isinstance(file, Path) else None
    return (about.st_dev, about.st_ino) if stat.S_ISREG(about.st_mode) else None


def _exists(file: Path | int) -> bool:
    return isinstance(file, int) or file.exists()  # what is missing is reported where it is read


def _name(file: Path | int) -> str:
    return str(file) if isinstance(file, Path) else ("standard input", "standard output")[file]


@contextmanager
def output_file(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that has its name only when it is complete, compressed as the name says."""
    from saccade.storage.files import replace_file
    from saccade.text.compressing import compressed

    if path is None:
        yield sys.stdout.buffer
        return

    def tell(partial: Path) -> None:
        typer.echo(f"{partial} holds the lines that were done; {path} was not written.", err=True)

    with replace_file(path, kept=tell) as stream, compressed(stream, path) as packed:
        yield packed


class Progress:
    """How far a file is translated, on one line of standard error."""

    def __init__(self, total: int) -> None:
        self.total, self.started = total, time.perf_counter()
        typer.echo(f"0 of {total:,} lines ", err=True, nl=False)

    def at(self, done: int) -> None:
        """Show how many lines are done."""
        rate = done / (time.perf_counter() - self.started)
        left = (self.total - done) / rate
        text = f"\r{done:,} of {self.total:,} lines, {rate:,.1f} per second, {left:,.0f} s left     "
        typer.echo(text, err=True, nl=False)

    def end(self) -> None:
        """Show how long it took."""
        seconds = time.perf_counter() - self.started
        text = f"\r{self.total:,} lines in {seconds:,.1f} s, {self.total / seconds:,.1f} per second     "
        typer.echo(text, err=True)
