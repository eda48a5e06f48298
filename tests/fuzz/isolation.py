"""Work in a forked child, with limits: whatever it does, the campaign goes on and knows how it ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0
"""Longest that one case may take."""
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
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        sys.stdout.flush()
        started = time.monotonic()
        child = os.fork()
        if not child:
            streams = (given.fileno(), out.fileno(), err.fileno())
            _in_child(work, place, streams, file_bytes=file_bytes)
        limit = seconds if kill_after is None else min(kill_after, seconds)
        status, usage, in_time = _waited(child, started + limit)
        out.seek(0), err.seek(0)
        return Ended(
            os.waitstatus_to_exitcode(status),
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            time.monotonic() - started,
            usage.ru_maxrss * 1024 - _born_with(),
            hung=not in_time and kill_after is None,
        )


def _in_child(
    work: Callable[[], None], place: Path, streams: tuple[int, int, int], *, file_bytes: int | None
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
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - it is for the parent to report
        traceback.print_exc()
    finally:
        # What the child says may be longer than the files that it may write.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _waited(child: int, deadline: float) -> tuple[int, resource.struct_rusage, bool]:
    """The child's status and use, and whether it ended by itself before the deadline."""
    pause = 0.002
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage, True
        if time.monotonic() > deadline:
            try:
                os.killpg(child, signal.SIGKILL)
            except OSError:  # it has not come to making its own group
                os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return status, usage, False
        time.sleep(pause)
        pause = min(1.2 * pause, 0.02)


def _born_with() -> int:
    """Bytes that this process holds, which a child has from the beginning."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
