"""Standard input as bytes."""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from saccade.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Input(io.FileIO):
    """Standard input, which ends when its terminal is gone."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """See `RawIOBase.readinto`."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return 0


def standard_input() -> BinaryIO:
    """Standard input, whose bytes come as soon as they arrive. A thread may still wait for them at the exit.

    Of `sys.stdin.buffer`, which Python closes at the exit, another thread must not be the reader then. Raises
    InputError if standard input is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed; give a file.")
    try:
        handle = os.dup(sys.stdin.fileno())
    except (AttributeError, io.UnsupportedOperation):  # something in memory has taken its place
        return sys.stdin.buffer
    return cast(BinaryIO, io.BufferedReader(Input(handle, "r")))
