"""Where commands that work through a text line by line write, and how they show how far they are."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

CHUNK = 500
"""Lines translated together: enough to sort by length, few enough to show progress."""


@contextmanager
def output_file(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that has its name only when it is complete."""
    from saccade.folders import disk_error

    if path is None:
        yield sys.stdout.buffer
        return
    in_place = path.exists() and not path.is_file()  # a pipe or device
    partial = path if in_place else path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        if not in_place:
            partial.replace(path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        if not in_place and partial.exists():
            typer.echo(f"{partial} holds the lines that were done; {path} was not written.", err=True)


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
