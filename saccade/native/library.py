"""The compiled kernels: found in the cache or compiled, compared with what Python expects, and loaded."""

import contextlib
import ctypes
import functools
import os
import threading
from pathlib import Path
from typing import Any

from saccade.native import cache, compiler
from saccade.native.structs import mismatch

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
    "top_k": "plllpp",
}
_NO_MEMORY = 1
_BAD = {
    2: "a token id is not in the vocabulary",
    3: "a target is not one of the classes",
    4: "a length, or the number of a sentence or of a hypothesis, is out of range",
}
_LOADING = threading.Lock()


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
    with _LOADING:  # threads that come first at the same time compile once
        return _load()


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get("SACCADE_NATIVE", "1") == "0":
        return None, "switched off by SACCADE_NATIVE=0"
    if os.name != "posix":
        return None, "they are only compiled on POSIX systems"
    commands, folders = compiler.compilers(), list(cache.folders())
    if not commands:
        return None, "no C compiler (cc, gcc or clang)"
    key = compiler.build_key(commands)
    for folder in folders:
        for file in cache.stored(folder, key):
            with contextlib.suppress(OSError):
                return opened(file), None
    reasons = ["no folder to keep them in"]
    for command in commands:
        try:
            content = compiler.build(command)
        except (compiler.CompilerError, OSError) as error:
            reasons.append(str(error))
            continue
        for folder in folders:
            try:
                return _kept(folder, key, content), None
            except OSError as error:
                reasons.append(str(error))
    return None, reasons[min(1, len(reasons) - 1)]


def _kept(folder: Path, key: str, content: bytes) -> ctypes.CDLL:
    """Puts the kernels into the cache and loads them from there.

    A folder from which no programs may run (noexec) does not keep them.
    """
    file = cache.store(folder, key, content)
    try:
        return opened(file)
    except OSError:
        file.unlink(missing_ok=True)
        raise
