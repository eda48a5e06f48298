"""The compiled kernels: found in the cache or compiled, compared with what Python expects, and loaded."""

import contextlib
import ctypes
import functools
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from saccade.errors import SlowWarning
from saccade.native import cache, compiler
from saccade.native.fork import BUILDING
from saccade.native.structs import mismatch
from saccade.storage import caches

# Types of arguments: pointer, long, int, float, 32 and 64 bits.
_TYPES: dict[str, Any] = {
    "p": ctypes.c_void_p,
    "l": ctypes.c_long,
    "i": ctypes.c_int,
    "f": ctypes.c_float,
    "u": ctypes.c_uint32,
    "U": ctypes.c_uint64,
}
# Kernels that say how they ended (status.h), and those that can't fail.
_CHECKED = {
    "attention_forward": "ppp",
    "attention_backward": "pppp",
    "linear_forward": "pppllp",
    "linear_argmax": "pplplpp",
    "prefix_search": "ppppllllppp",
    "r_drop_gradient": "pllpffpi",
    "sequences_forward": "pp",
    "softmax_gradient": "pllpfppi",
    "softmax_rows": "pllppi",
    "transformer_step": "ppp",
}
_UNCHECKED = {
    "dropout": "pplluUi",
    "log_softmax": "pll",
    "norm_backward": "ppppp",
    "norm_forward": "pppp",
    "set_threads": "i",
    "top_k": "plllpp",
}
_NO_MEMORY = 1
_BAD = {
    2: "a token id is not in the vocabulary",
    3: "a target is not one of the classes",
    4: "a length, or the number of a sentence or of a hypothesis, is out of range",
}
_PATIENCE = 300.0
"""Seconds to wait for another process that compiles the same."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None if there are none; `why_not` tells the reason."""
    return _attempt()[0]


def kernels() -> ctypes.CDLL:
    """The compiled kernels, where a caller has made sure that there are any.

    They raise MemoryError if memory runs out, and IndexError for ids that are out of range.
    """
    found = library()
    assert found is not None
    return found


def why_not() -> str | None:
    """Why there are no compiled kernels here; None when there are."""
    return _attempt()[1]


def opened(file: Path) -> ctypes.CDLL:
    """The library in a file, ready to be called. Raises OSError if it can't be used."""
    found = ctypes.CDLL(str(file))
    if wrong := mismatch(found):
        raise OSError(f"the compiled kernels do not fit this installation: {wrong}")
    for name, types in (_CHECKED | _UNCHECKED).items():
        function = getattr(found, name)
        function.argtypes = [_TYPES[letter] for letter in types]
        function.restype = ctypes.c_int if name in _CHECKED else None
        if name in _CHECKED:
            function.errcheck = _raise
    return found


def _raise(status: int, function: Any, arguments: tuple[Any, ...]) -> int:  # noqa: ARG001 - ctypes passes them
    if status == _NO_MEMORY:
        raise MemoryError(f"no memory for the kernel {function.__name__}")
    if status:
        raise IndexError(f"{_BAD[status]} (kernel {function.__name__})")
    return status


def _attempt() -> tuple[ctypes.CDLL | None, str | None]:
    with BUILDING:  # threads that come first at the same time compile once
        return _load()


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get("SACCADE_NATIVE", "1") == "0":
        return None, "switched off by SACCADE_NATIVE=0"
    if os.name != "posix":
        return None, "they are only compiled on POSIX systems"
    commands = compiler.compilers()
    if not commands:
        return None, "no C compiler (cc, gcc or clang)"
    try:
        key = compiler.build_key(commands)
        found = _stored(caches.folders(), key) or _compiled(commands, key)
    except (compiler.CompilerError, OSError) as error:
        warnings.warn(
            f"plain torch is used, which is slower: {error}. Name a C compiler that works in CC, or set "
            "SACCADE_NATIVE=0.",
            SlowWarning,
            stacklevel=2,
        )
        return None, str(error)
    return found, None


def _stored(folders: Iterable[Path], key: str) -> ctypes.CDLL | None:
    for folder in folders:
        for file in cache.stored(folder, key):
            with contextlib.suppress(OSError):
                return opened(file)
    return None


def _compiled(commands: Sequence[Sequence[str]], key: str) -> ctypes.CDLL:
    """The kernels, compiled by the first compiler that can and kept; by one process if several come at once.

    Raises CompilerError, or OSError where they can't be kept.
    """
    folder = next(filter(cache.has_room, caches.writable_folders(programs=True)), None)
    if folder is None:
        raise OSError(
            "there is no folder of this user's own with 4 MB of room to keep compiled kernels in, and to run "
            "them from; XDG_CACHE_HOME names one"
        )
    with cache.claimed(folder, patience=_PATIENCE) as alone:
        if found := _stored([folder], key):
            return found
        if failure := cache.remembered(folder, key):
            raise compiler.CompilerError(f"{failure} when it was last tried, less than an hour ago")
        if not alone:
            raise compiler.CompilerError(f"another process was still compiling after {_PATIENCE:.0f} seconds")
        return _compile(commands, key, folder)


def _compile(commands: Sequence[Sequence[str]], key: str, folder: Path) -> ctypes.CDLL:
    failures: list[Exception] = []
    for command in commands:
        try:
            content = compiler.build(command, place=folder)
        except compiler.CompilerError as error:
            failures.append(error)
            continue
        file = cache.store(folder, key, content)
        try:
            return opened(file)
        except OSError as error:  # not a library of this system
            file.unlink(missing_ok=True)
            failures.append(error)
    if any(isinstance(failure, compiler.CompilerHangsError) for failure in failures):
        cache.remember(folder, key, str(failures[0]))
    raise failures[0]
