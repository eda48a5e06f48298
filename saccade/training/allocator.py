"""Memory of a process that trains: sizes that torch frees come again at once, shapes of batches do not."""

import contextlib
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc
_LARGE = 1 << 30
_PREPARED = "16"


def steady_memory() -> None:
    """Lets freed memory stay with the process, and what oneDNN prepared for other shapes go.

    By default a large tensor is mapped anew each time, and the kernel has to clear its pages (settled on
    systems with glibc); and 1,024 prepared products of a megabyte or so are kept, one for each shape
    (settled before the first one).
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, _PREPARED)
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, _LARGE)
