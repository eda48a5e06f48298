"""Ask the C library to keep memory that torch frees: training asks for the same sizes again at once."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc
_LARGE = 1 << 30


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, on systems with glibc.

    By default a large tensor is mapped anew each time, and the kernel has to clear its pages.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, _LARGE)
