"""Compiles the C files for this processor, with the first compiler that can."""

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# Arithmetic stays as written, except for fused multiply-add: no reordering, infinities and NaN as they are.
_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-gcse",  # it finds nothing in unrolled kernels, and takes a minute where vectors are split in two
    "-Wno-psabi",
]
_HERE = Path(__file__).parent
_OPENMP = {"clang": "__kmpc_fork_call", "gcc": "GOMP_parallel"}
_TRIAL, _PATIENCE = 15.0, 240.0
"""Seconds for a trial of the compiler, and for all of the kernels, which take several. A compiler that hangs
must not hang us."""


class CompilerError(Exception):
    """A compiler failed; the message names it and its first complaint."""


class CompilerHangsError(CompilerError):
    """A compiler did not end in time."""


def compilers() -> list[list[str]]:
    """The commands to try, in order: that of CC, the compiler that Python was built with, the usual ones."""
    found: list[list[str]] = []
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        try:
            words = shlex.split(command or "")
        except ValueError:  # a quotation mark that nothing closes
            continue
        if words and shutil.which(words[0]) and words not in found:
            found.append(words)
    return found


def build_key(commands: Iterable[Sequence[str]]) -> str:
    """What the result depends on: sources, flags, processor, threads, and the compilers that are there.

    A compiler is known by its file; running each one at every start would take longer than all the rest.
    Raises OSError for one that is no longer there, CompilerError for flags that can't be read.
    """
    digest = hashlib.sha256()
    for command in commands:
        path = Path(shutil.which(command[0]) or command[0]).resolve()
        about = path.stat()
        digest.update(f"{command} {path} {about.st_size} {about.st_mtime_ns}\n".encode())
    digest.update(f"{_flags()} {[_has(name) for name in _OPENMP.values()]}\n{_processor()}\n".encode())
    for source in [*sorted(_HERE.glob("*.c")), *sorted(_HERE.glob("*.h"))]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def build(
    command: Sequence[str],
    *,
    flags: Sequence[str] = (),
    sources: Sequence[Path] = (),
    place: Path | None = None,
) -> bytes:
    """A shared library of all C files and of further `sources`, compiled with further `flags`.

    place: the folder for what comes up on the way, all of which is removed. Raises CompilerError. OpenMP's
    functions are left open: torch has loaded a library of threads, which then serves both.
    """
    ours = [*sorted(_HERE.glob("*.c")), *sources]
    with tempfile.TemporaryDirectory(prefix=".build-", dir=place, ignore_cleanup_errors=True) as name:
        folder, trial = Path(name), time.monotonic() + _TRIAL
        options = [*_flags(), *_openmp(command, until=trial), *flags]
        (folder / "trial.c").write_text("int trial(void) { return 1; }\n", encoding="utf-8")
        _link(command, options, [folder / "trial.c"], folder, until=trial)
        return _link(command, options, ours, folder, until=time.monotonic() + _PATIENCE)


def _link(
    command: Sequence[str], options: Sequence[str], sources: Sequence[Path], folder: Path, *, until: float
) -> bytes:
    """The library of some sources."""
    objects = []
    for source in sources:
        objects.append(str(folder / f"{source.stem}.o"))
        _run([*command, *options, f"-I{_HERE}", "-fPIC", "-c", str(source), "-o", objects[-1]], until=until)
    out = folder / f"{sources[0].stem}.so"
    # Without -fopenmp, which would bring a second library of threads.
    sanitizers = [flag for flag in options if flag.startswith("-fsanitize")]
    _run([*command, *sanitizers, "-shared", *objects, "-o", str(out), "-lm"], until=until)
    try:
        return out.read_bytes()
    except OSError as error:
        raise CompilerError(f"{command[0]} failed: it wrote no library") from error


def _flags() -> list[str]:
    """SACCADE_CFLAGS adds some, for sanitizers. Raises CompilerError if it can't be read."""
    try:
        return [*_FLAGS, *shlex.split(os.environ.get("SACCADE_CFLAGS", ""))]
    except ValueError as error:
        raise CompilerError(f"SACCADE_CFLAGS: {error}") from error


def _run(command: Sequence[str], *, until: float) -> str:
    """Run a compiler, at most to the moment `until` of the monotonic clock, and return what it prints."""
    patience = max(until - time.monotonic(), 0.0)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that what it starts in turn can be ended with it
        )
    except (OSError, ValueError) as error:
        raise CompilerError(f"{command[0]} failed: {error}") from error
    with process:
        try:
            out, complaints = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            raise CompilerHangsError(f"{command[0]} was still running after {patience:.0f} seconds") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = complaints.decode(errors="replace").strip().splitlines()
        raise CompilerError(f"{command[0]} failed: {lines[0] if lines else f'exit {process.returncode}'}")
    return out.decode(errors="replace")


def _openmp(command: Sequence[str], *, until: float) -> list[str]:
    """-fopenmp if the process already has the functions that this compiler will call."""
    kind = "clang" if "clang" in _run([*command, "--version"], until=until) else "gcc"
    return ["-fopenmp"] if _has(_OPENMP[kind]) else []


def _has(function: str) -> bool:
    return hasattr(ctypes.CDLL(None), function)


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
