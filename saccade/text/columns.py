"""The columns of a line, each with a name and a type of values.

A line of a corpus may be a source and a target, words and their labels, or a recording and its transcript.
A column has values for each position of a line: ids of a vocabulary, or numbers, several for each position
if it has a width (frames of sound, patches of a picture). It has positions of its own, or those of the column
that it is aligned with (one fertility for each source id).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

NUMBER_TYPES = ("<f4", "|u1", "<i2", "<u2", "<u4")
"""Types in which values are stored: float32, uint8, int16, uint16, uint32; little-endian."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Column:
    """The declaration of a column. Use `ids` and `numbers` to make one.

    Raises ValueError if the parts do not fit together.
    """

    name: str
    """Name of lower-case letters, digits and underscores, which is also used as a file name."""
    dtype: str
    """One of `NUMBER_TYPES`."""
    vocab_size: int | None = None
    """Size of the vocabulary, which all ids are below; None for numbers."""
    width: int | None = None
    """Number of values for each position; None: one, without an axis."""
    aligned_with: str | None = None
    """Name of the column that has the same positions; None: positions of its own."""
    pad: float = 0
    """Padding value in batches."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"column name {self.name!r}: use lower-case letters, digits and underscores")
        if self.dtype not in NUMBER_TYPES:
            raise ValueError(f"column {self.name}: type {self.dtype!r} is none of {', '.join(NUMBER_TYPES)}")
        if self.width is not None and (self.width < 1 or self.vocab_size is not None):
            raise ValueError(f"column {self.name}: width {self.width} is for numbers and at least 1")
        if self.aligned_with == self.name:
            raise ValueError(f"column {self.name}: aligned with itself")

    @classmethod
    def ids(cls, name: str, *, vocab_size: int, pad: int = 0, aligned_with: str | None = None) -> Self:
        """A column of ids from 0 to vocab_size - 1, each in two bytes if they fit."""
        dtype = "<u2" if vocab_size <= 1 << 16 else "<u4"
        return cls(name, dtype, vocab_size=vocab_size, aligned_with=aligned_with, pad=pad)

    @classmethod
    def numbers(
        cls,
        name: str,
        dtype: DTypeLike,
        *,
        width: int | None = None,
        aligned_with: str | None = None,
        pad: float = 0,
    ) -> Self:
        """A column of numbers, `width` for each position."""
        stored = np.dtype(dtype).newbyteorder("<").str
        return cls(name, stored, width=width, aligned_with=aligned_with, pad=pad)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the values of one position: () or (width,)."""
        return () if self.width is None else (self.width,)

    @property
    def batch_dtype(self) -> np.dtype[Any]:
        """The type of the values in a batch: int64 for ids and counts, otherwise as stored."""
        return np.dtype(np.int64) if self.dtype in ("<u2", "<u4") else np.dtype(self.dtype)


def require_aligned(columns: Sequence[Column]) -> Mapping[str, Column]:
    """The columns by name.

    Raises ValueError for a duplicate name, and for a column that is aligned with one that is missing or has
    no positions of its own.
    """
    by_name = {column.name: column for column in columns}
    if len(by_name) < len(columns):
        raise ValueError(f"columns {', '.join(column.name for column in columns)}: a name stands twice")
    for column in columns:
        if column.aligned_with is None:
            continue
        other = by_name.get(column.aligned_with)
        if other is None or other.aligned_with is not None:
            raise ValueError(
                f"column {column.name}: aligned with {column.aligned_with}, "
                "which is missing or has no positions of its own"
            )
    return by_name
