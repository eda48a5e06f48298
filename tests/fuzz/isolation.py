"""Work in a forked child, with limits: whatever it does, the campaign goes on and knows how it ended."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import selectors
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0
"""Longest that one case may take, on a machine that has nothing else to do."""
GROWTH = 512 << 20
"""Most bytes of memory that one case may take besides what the campaign itself has."""
_ADDRESSES = 4 << 30  # beyond what is there already: more is refused by the system, and protects the machine


@dataclass(frozen=True)
class Ended:
    """How a child ended. code: of its exit, or minus the signal; peak: bytes that it took besides those it
    began with."""

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    hung: bool

    def fault(self) -> str | None:
        """What must never happen, in a word and the end of the child's messages; None if all is well."""
        if self.hung:
            return f"hangs for {self.seconds:.0f} s"
        if self.code not in (0, 2):
            return f"exit code {self.code}: {self.err[-1500:]}"
        if "Traceback" in self.err:
            return f"traceback: {self.err[-1500:]}"
        if self.peak > GROWTH:
            return f"takes {self.peak >> 20} MB"
        if self.code == 2 and self.err.count("Error:") != 1:
            return f"{self.err.count('Error:')} messages: {self.err[-800:]}"
        return None


def isolated(
    work: Callable[[], None],
    *,
    place: Path,
    stdin: bytes = b"",
    seconds: float = SECONDS,
    kill_after: float | None = None,
    file_bytes: int | None = None,
) -> Ended:
    """Runs `work` in a child whose current folder is `place`.

    kill_after: seconds after which it is killed, as if the power failed. file_bytes: the size at which a file
    that it writes is refused, as on a full disk.
    """
    # What the child prints goes through pipes: a limit on the size of files would cut files of messages, too.
    out, err = _Pipe(), _Pipe()
    with tempfile.TemporaryFile() as given, out, err:
        given.write(stdin)
        given.seek(0)
        sys.stdout.flush()
        started = time.monotonic()
        child = os.fork()
        if not child:
            streams = (given.fileno(), out.write, err.write)
            _in_child(work, place, streams, seconds=seconds, file_bytes=file_bytes)
        limit = _Limit(started, seconds, kill_after)
        status, usage, in_time = _waited(child, limit, (out, err))
        return Ended(
            os.waitstatus_to_exitcode(status),
            out.text(),
            err.text(),
            time.monotonic() - started,
            usage.ru_maxrss * 1024 - _born_with(),
            hung=not in_time and kill_after is None,
        )


class _Pipe:
    """What a child writes and its parent reads, of which so much is kept as a message may need."""

    kept = 1 << 20

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self._content = bytearray()

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        os.close(self.read)
        os.close(self.write)

    def take(self) -> None:
        """Reads what is there."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.read, 1 << 16):
                self._content += part[: self.kept - len(self._content)]

    def text(self) -> str:
        return self._content.decode(errors="replace")


def _in_child(
    work: Callable[[], None],
    place: Path,
    streams: tuple[int, int, int],
    *,
    seconds: float,
    file_bytes: int | None,
) -> None:
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # Not those of the parent: a test may have others in their place.
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            for number, mode in enumerate("rww")
        )
        os.setsid()
        os.chdir(place)
        most = _born_with() + _ADDRESSES + _addresses()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        computing = math.ceil(seconds) * (os.cpu_count() or 1)
        resource.setrlimit(resource.RLIMIT_CPU, (computing, computing + 1))
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - it is for the parent to report
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class _Limit:
    """When a child has had its time, which is longer on a machine that is busy with other work."""

    started: float
    seconds: float
    kill_after: float | None

    def left(self) -> float:
        """Seconds."""
        used = time.monotonic() - self.started
        if self.kill_after is not None:
            return min(self.kill_after, self.seconds) - used
        return self.seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) - used


def _waited(child: int, limit: _Limit, pipes: tuple[_Pipe, ...]) -> tuple[int, resource.struct_rusage, bool]:
    """The child's status and use, and whether it ended by itself before its time was over."""
    ended, in_time = os.pidfd_open(child), True
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(ended, selectors.EVENT_READ)
            for pipe in pipes:
                waiting.register(pipe.read, selectors.EVENT_READ)
            while ended not in [key.fd for key, _ in waiting.select(max(limit.left(), 0.0))]:
                for pipe in pipes:
                    pipe.take()
                if limit.left() <= 0.0:
                    in_time = False
                    _kill(child)
                    break
        _, status, usage = os.wait4(child, 0)
    finally:
        os.close(ended)
    for pipe in pipes:
        pipe.take()
    return status, usage, in_time


def _kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:  # it has not come to making its own group
        os.kill(child, signal.SIGKILL)


def _born_with() -> int:
    """Bytes that this process holds, which a child has from the beginning."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
