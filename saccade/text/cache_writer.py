"""Writing of caches of encoded lines, with a chunk of lines in memory at a time."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.errors import UserError
from saccade.storage.leftovers import partial_folder
from saccade.text.cache import DESCRIPTION, VERSION, Stored, Values, described, digest_of
from saccade.text.columns import Column, require_aligned

Lines = Sequence[Sequence[int]] | Sequence[Values]
"""The values of several lines; for a column with a width, arrays of (positions, width)."""


class CacheWriter:
    """A writer that receives a cache in chunks; `write_cache` makes one."""

    def __init__(self, folder: Path, columns: Sequence[Column]) -> None:
        require_aligned(columns)
        self._folder = folder
        self._files = [_ColumnFile(folder, column) for column in columns]
        self._count = 0

    def add(self, lines: Mapping[str, Lines]) -> None:
        """Appends lines: for each column, by name, the values of each line.

        Raises ValueError if columns have different numbers of lines, if aligned columns have different
        positions, or if an id is not in its vocabulary; TypeError for arrays that do not have the column's
        type.
        """
        names = [file.column.name for file in self._files]
        if set(lines) != set(names):
            raise ValueError(f"columns {', '.join(lines)} for a cache of {', '.join(names)}")
        counts = {name: len(values) for name, values in lines.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"different numbers of lines: {counts}")
        lengths: dict[str, NDArray[np.int64]] = {}
        for name, values in lines.items():
            lengths[name] = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        for file in self._files:
            column = file.column
            other = column.aligned_with
            if other is not None and not np.array_equal(lengths[column.name], lengths[other]):
                raise ValueError(f"column {column.name} has other positions than {other}")
            file.add(lines[column.name], lengths[column.name])
        self._count += next(iter(counts.values()), 0)

    def finish(self) -> None:
        """Completes the files and writes cache.json."""
        entries = [described(file.column, file.finish()) for file in self._files]
        description = {"version": VERSION, "lines": self._count, "columns": entries}
        (self._folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Closes the files, finished or not."""
        for file in self._files:
            file.stream.close()


class _ColumnFile:
    """The files NAME.bin and NAME.offsets.npy while they are written."""

    def __init__(self, folder: Path, column: Column) -> None:
        self.column, self._folder = column, folder
        self.stream = (folder / f"{column.name}.bin").open("wb")
        self._digest = hashlib.sha256()
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, lines: Lines, lengths: NDArray[np.int64]) -> None:
        flat = _flat(lines, self.column, count=int(lengths.sum()))
        self._digest.update(flat.data)
        flat.tofile(self.stream)
        self._lengths.append(lengths)

    def finish(self) -> Stored:
        self.stream.flush()
        os.fsync(self.stream.fileno())
        offsets = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *self._lengths]))
        digest = ""
        if self.column.aligned_with is None:
            np.save(self._folder / f"{self.column.name}.offsets.npy", offsets)
            digest = digest_of(offsets)
        return Stored(int(offsets[-1]), self._digest.hexdigest(), digest)


def _flat(lines: Lines, column: Column, *, count: int) -> Values:
    """The values of several lines one after another, (count[, width])."""
    flat: Values
    if column.width is not None:
        flat = np.empty((count, column.width), dtype=column.dtype)
        if count:
            np.concatenate([np.asarray(line) for line in lines if len(line)], out=flat, casting="no")
        return flat
    try:
        flat = np.fromiter(chain.from_iterable(lines), dtype=column.dtype, count=count)
    except OverflowError as error:
        raise ValueError(f"column {column.name}: a value that {column.dtype} does not hold") from error
    if column.vocab_size is not None and count and flat.max() >= column.vocab_size:
        raise ValueError(f"column {column.name}: id {flat.max()} in a vocabulary of {column.vocab_size}")
    return flat


@contextmanager
def write_cache(folder: Path, columns: Sequence[Column]) -> Iterator[CacheWriter]:
    """A writer for `folder`, which appears as a whole when the block ends without an error.

    It replaces an older cache; after an error nothing changes. Raises UserError if the disk is full or the
    folder is not writable.
    """
    place = folder.resolve()  # a link stays one
    try:
        with partial_folder(place) as partial:
            writer = CacheWriter(partial, columns)
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
    except OSError as error:
        raise UserError(f"{folder}: cannot write the token cache: {error.strerror or error}.") from error
