"""Allocator settings of a training process, which keep memory use steady although batch shapes vary."""

import contextlib
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc
_LARGE = 1 << 30
_PREPARED = "16"


def steady_memory() -> None:
    """Keeps freed memory in the process, and limits what oneDNN caches for each shape.

    By default glibc returns the memory of a large tensor to the system, which must clear the pages when they
    are mapped again; oneDNN caches 1,024 prepared operations of about a megabyte, one for each shape. Call
    this before the first operation.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, _PREPARED)
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, _LARGE)
