"""Compile the C files once for this processor and load them."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

# Arithmetic stays as written but for fused multiply-add: no reordering, infinities and NaN as they are.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they can't be had; `why_not` tells the reason."""
    return _attempt()[0]


def kernels() -> ctypes.CDLL:
    """The compiled kernels, where a caller has made sure that there are any."""
    found = library()
    assert found is not None
    return found


def why_not() -> str | None:
    """Why there are no compiled kernels here; None when there are."""
    return _attempt()[1]


@functools.cache
def _attempt() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get("SACCADE_NATIVE", "1") == "0":
        return None, "switched off by SACCADE_NATIVE=0"
    compiler = _compiler()
    if compiler is None:
        return None, "no C compiler (cc, gcc or clang)"
    try:
        return ctypes.CDLL(str(_compiled(compiler))), None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or [str(error)]
        return None, f"{compiler[0]} failed: {lines[0]}"
    except OSError as error:
        return None, str(error)


def _compiler() -> list[str] | None:
    """The compiler that the user names, else the one that Python was built with, else a usual one."""
    named = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    for command in named:
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words[:1]
    return None


def _compiled(compiler: list[str]) -> Path:
    """The shared library for these sources, this compiler and this processor; built when it is new."""
    here = Path(__file__).parent
    sources = sorted(here.glob("*.c"))
    digest = hashlib.sha256(" ".join([*compiler, *FLAGS, _processor()]).encode())
    digest.update(subprocess.run([*compiler, "--version"], capture_output=True, check=True).stdout)
    for path in [*sources, *sorted(here.glob("*.h"))]:
        digest.update(path.read_bytes())
    folder = _cache()
    target = folder / f"kernels-{digest.hexdigest()[:24]}.so"
    if not target.exists():
        # Several processes may build at once: each writes its own file, the last rename wins.
        with tempfile.TemporaryDirectory(dir=folder) as work:
            built = Path(work) / "kernels.so"
            _build(compiler, sources, built, Path(work))
            built.replace(target)
    return target


def _build(compiler: list[str], sources: list[Path], out: Path, work: Path) -> None:
    """OpenMP's functions are left open: torch has loaded a library of threads, which then serves both."""
    objects = []
    for source in sources:
        objects.append(str(work / f"{source.stem}.o"))
        _run([*compiler, *FLAGS, *_openmp(compiler), "-fPIC", "-c", str(source), "-o", objects[-1]])
    _run([*compiler, "-shared", *objects, "-o", str(out), "-lm"])


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


def _openmp(compiler: list[str]) -> list[str]:
    """-fopenmp where the process already has the functions that this compiler will call."""
    shown = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    name = "__kmpc_fork_call" if "clang" in shown else "GOMP_parallel"
    return ["-fopenmp"] if hasattr(ctypes.CDLL(None), name) else []


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _cache() -> Path:
    """A folder of the user's own; a temporary one where the home folder can't be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "saccade"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="saccade-"))
