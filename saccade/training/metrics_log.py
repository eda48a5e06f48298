"""The metrics of a run: a JSONL file, TensorBoard curves if it is installed, a live line on a terminal."""

import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from saccade.errors import DamagedFile, UserError
from saccade.storage.files import replace_file, write_whole
from saccade.storage.folders import disk_error
from saccade.training.curves import Curves, curves

_LONGEST = 1 << 20
"""Bytes of a line; a longer one is none of ours."""


class MetricsLog:
    """The metrics log of a run. Those of other processes than the leading one are `quiet` and do nothing."""

    def __init__(
        self, run: Path, *, step: int, steps: int, quiet: bool = False, console: Console | None = None
    ) -> None:
        self.quiet, self.steps = quiet, steps
        self.console = console or Console(stderr=True)
        self._path = run / "metrics.jsonl"
        self._file: io.FileIO | None = None
        self._curves: Curves | None = None
        self._live: Progress | None = None
        self._task = TaskID(0)
        if quiet:
            return
        try:
            forget_after(self._path, step)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise disk_error(self._path, error) from error
        try:
            self._curves = curves(run / "tensorboard", step=step)
        except UserError:
            self._file.close()
            raise
        if self.console.is_terminal:
            self._live = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._live.add_task("", total=steps, completed=step)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._file is not None:
            self._file.close()
        if self._curves is not None:
            self._curves.close()

    def progress(self, step: int, description: str) -> None:
        """Updates the live line; does nothing without a terminal."""
        if self._live is not None:
            self._live.update(self._task, completed=step, description=description)

    def record(self, kind: str, step: int, values: Mapping[str, float | int | str | None]) -> None:
        """Appends a line to metrics.jsonl: its kind (train, valid, ...), the step and the values.

        A value that is not finite becomes null, because JSON has no NaN. Raises StorageError if the line
        cannot be written.
        """
        if self._file is None:
            return
        line = {
            "kind": kind,
            "step": step,
            "time": round(time.time(), 3),
            **{name: value if _is_json(value) else None for name, value in values.items()},
        }
        try:
            write_whole(self._file, (json.dumps(line) + "\n").encode())
        except OSError as error:
            raise disk_error(self._path, error) from error
        if self._curves is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._curves.add(f"{kind}/{name}", value, step)

    def say(self, text: str) -> None:
        """Prints a line above the live line."""
        if not self.quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def forget_after(path: Path, step: int) -> None:
    """Drops lines after `step`, which a resumed run writes again, and lines that are no metrics.

    A crash may cut the last line short, and other programs may have damaged any of them. Raises UserError if
    there is something else than a file.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedFile(f"{path}: not a file, so no metrics can be written to it. Move it away.")
    if not path.exists():
        return
    with path.open("rb") as old, replace_file(path) as kept:
        while line := old.readline(_LONGEST):
            if _step_of(line) <= step:
                kept.write(line.rstrip(b"\n") + b"\n")


def _step_of(line: bytes) -> float:
    """The step of a line of metrics; infinity if it is none."""
    try:
        step = json.loads(line.decode("utf-8"))["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return step if type(step) is int and step >= 0 else math.inf


def _is_json(value: float | int | str | None) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
