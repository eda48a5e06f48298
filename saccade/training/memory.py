"""Lack of memory in training as one message."""

from collections.abc import Iterator
from contextlib import contextmanager

from saccade.errors import UserError
from saccade.machine import lacks_memory, names_shortage


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
        reason = next((line.strip() for line in lines if names_shortage(line)), lines[0])
        raise UserError(
            f"out of memory ({reason[:200]}). Checkpoints that were saved are kept. Give the process more "
            "memory, or choose a smaller model or a smaller training.batch_tokens."
        ) from error
