"""Recognition of lack of memory, which the libraries below report in many ways."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from saccade.errors import UserError

_SIGNS = (
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
    "could not create a primitive",
    "could not create a memory",
    "bad_alloc",
    "cannot allocate memory",
    "unable to allocate",
    "can't start new thread",
    "thread constructor failed",
    "failed to map segment from shared object",
    "unable to mmap",
    "storage size calculation overflowed",
    "numel: integer multiplication overflow",
)
"""Parts of messages that mean lack of memory: torch's allocator on CPUs, oneDNN, threads without room for a
stack, libraries that cannot be mapped, and tensors larger than any memory have no exception type for it."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception means lack of memory, by its type or its message."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError | ImportError) and _is_sign(str(error))


def _is_sign(text: str) -> bool:
    return any(sign.lower() in text.lower() for sign in _SIGNS)


@contextmanager
def naming_lack_of_memory() -> Iterator[None]:
    """Turns lack of memory within the block into a UserError; other exceptions pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not lacks_memory(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((line.strip() for line in lines if _is_sign(line)), lines[0])
        raise UserError(
            f"out of memory ({reason[:200]}). Checkpoints that were saved are kept. Give the process more "
            "memory, or choose a smaller model or a smaller training.batch_tokens."
        ) from error
