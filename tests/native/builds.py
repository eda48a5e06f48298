"""Builds of the kernels for tests, each made once, and put in place of the process's own."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from saccade.native import compiler, library

# Allocations are counted; number `fail_at` fails (0: none does). `held` are not released yet.
FAULTS = """
#include <stdlib.h>
long allocations, fail_at, held;
void *failing_allocate(size_t bytes) {
    if (__atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) == fail_at) return NULL;
    __atomic_add_fetch(&held, 1, __ATOMIC_RELAXED);
    return aligned_alloc(64, bytes);
}
void counting_release(void *memory) {
    if (memory) __atomic_sub_fetch(&held, 1, __ATOMIC_RELAXED);
    free(memory);
}
"""
FAULT_FLAGS = ["-DSACCADE_ALLOCATE=failing_allocate", "-DSACCADE_RELEASE=counting_release"]


class Faulty:
    """Kernels whose n-th allocation can be made to fail."""

    def __init__(self, folder: Path) -> None:
        source = folder / "faults.c"
        source.write_text(FAULTS)
        # Without optimisation: it compiles in seconds, and the arithmetic does not matter here.
        built = compiler.build(compiler.compilers()[0], flags=[*FAULT_FLAGS, "-O0"], sources=[source])
        file = folder / "faulty.so"
        file.write_bytes(built)
        self.library = library.opened(file)
        self._counters = {
            name: ctypes.c_long.in_dll(self.library, name) for name in ("allocations", "fail_at", "held")
        }

    def fail_at(self, number: int) -> None:
        """The allocation `number`, counted from 1 and from now on, will fail; 0: none."""
        self._counters["allocations"].value = 0
        self._counters["fail_at"].value = number

    @property
    def allocations(self) -> int:
        """Since the last `fail_at`."""
        return self._counters["allocations"].value

    @property
    def held(self) -> int:
        """Allocations that were not released."""
        return self._counters["held"].value


@contextlib.contextmanager
def in_place(kernels: ctypes.CDLL) -> Iterator[None]:
    """Within the block, everything calls these kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_load", lambda: (kernels, None))
        library.library.cache_clear()
        try:
            yield
        finally:
            library.library.cache_clear()
