"""Memory-mapped caches of encoded lines, so that a corpus larger than memory can be trained on.

A cache is a folder. For each column, NAME.bin holds the values of all lines one after another, and
NAME.offsets.npy (int64, lines + 1) the place where each line begins; a column that is aligned with another
one uses its offsets. cache.json describes the columns, with a SHA-256 of each file. The folder is written
under another name and renamed at the end, so that a partial one is never opened.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.errors import DamagedFile, UserError
from saccade.storage.structured import SMALL, read_json, require_plain
from saccade.text.columns import Column, require_aligned

VERSION = 2
DESCRIPTION = "cache.json"
Ids = NDArray[np.uint16] | NDArray[np.uint32]
Values = NDArray[Any]
_NPY_HEADER = 1024  # bytes, at most
_BLOCK = 1 << 24
"""Number of values read at a time, because a file may be larger than memory."""


class Stored(NamedTuple):
    """The entry of a column in cache.json besides its declaration. offsets_sha256: "" if it is aligned."""

    values: int
    sha256: str
    offsets_sha256: str


@dataclass(frozen=True)
class EncodedColumn:
    """One column of a cache: line i is `values[offsets[i]:offsets[i + 1]]`."""

    column: Column
    file: Path
    values: Values
    """(positions of all lines[, width]), read from disk on access."""
    offsets: NDArray[np.int64]
    """(lines + 1,)"""
    lengths: NDArray[np.int32]
    """(lines,) number of positions of each line, end symbol included."""
    sha256: str

    def line(self, index: int) -> Values:
        """The values of one line, (positions[, width]), a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def blocks(self) -> Iterator[Values]:
        """Yields all values in order, some megabytes at a time."""
        for first in range(0, len(self.values), _BLOCK):
            yield self.values[first : first + _BLOCK]


@dataclass(frozen=True)
class EncodedLines:
    """The lines of a cache, as columns by name: `lines["source"].lengths`."""

    folder: Path
    columns: Mapping[str, EncodedColumn]
    count: int

    @classmethod
    def open(cls, folder: Path) -> "EncodedLines":
        """Maps a finished cache after checking sizes, offsets, and that every id is within its vocabulary.

        Raises UserError if there is no cache, if it is damaged, or if its format is that of another version.
        """
        try:
            description = read_json(folder / DESCRIPTION, limit=SMALL)
            if description["version"] != VERSION:
                raise UserError(_other_version(folder, description["version"]))
            count = _count(description["lines"])
            declared = [_declared(entry) for entry in description["columns"]]
            require_aligned([column for column, _ in declared])
            columns: dict[str, EncodedColumn] = {}
            for column, stored in sorted(declared, key=lambda entry: entry[0].aligned_with is not None):
                columns[column.name] = _open_column(folder, column, stored, count=count, others=columns)
        except (OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise DamagedFile(
                f"{folder}: no token cache, or a damaged one ({error}). Delete the folder {folder.parent} "
                "and prepare the text again."
            ) from error
        in_order = {column.name: columns[column.name] for column, _ in declared}
        return cls(folder, in_order, count)

    def __len__(self) -> int:
        return self.count

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> EncodedColumn:
        if name not in self.columns:
            raise KeyError(f"{self.folder}: no column {name!r}, only {', '.join(self.columns)}")
        return self.columns[name]

    def verify(self) -> None:
        """Compares the hash of every column with cache.json. Raises UserError if one has changed.

        It reads the whole cache, at about half a gigabyte per second.
        """
        for name, column in self.columns.items():
            digest = hashlib.sha256()
            for block in column.blocks():
                digest.update(np.ascontiguousarray(block).data)
            if digest.hexdigest() != column.sha256:
                raise DamagedFile(
                    f"{column.file}: the values of column {name} are not those that were written. Delete the "
                    f"folder {self.folder.parent} and prepare the text again."
                )


def open_verified(folder: Path, vocab_sizes: Mapping[str, int | None]) -> EncodedLines:
    """Opens a cache and verifies its values and the sizes of its vocabularies, by column.

    A column of numbers has the size None. Raises UserError as `EncodedLines.open` and `EncodedLines.verify`
    do, and if a size differs.
    """
    lines = EncodedLines.open(folder)
    lines.verify()
    for name, size in vocab_sizes.items():
        if name not in lines:
            raise DamagedFile(
                f"{folder}: the token cache has no column {name}. Delete the folder {folder.parent} and "
                "prepare the text again."
            )
        found = lines[name].column.vocab_size
        if found != size:
            raise DamagedFile(
                f"{lines[name].file}: its vocabulary has {found} pieces, the tokeniser's has {size}. "
                f"Delete the folder {folder.parent} and prepare the text again."
            )
    return lines


def digest_of(array: NDArray[Any]) -> str:
    """SHA-256 of an array's values in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def described(column: Column, stored: Stored) -> dict[str, Any]:
    """The entry of a column in cache.json."""
    return {
        "name": column.name,
        "type": column.dtype,
        "vocab_size": column.vocab_size,
        "width": column.width,
        "aligned_with": column.aligned_with,
        "pad": column.pad,
        **stored._asdict(),
    }


def _declared(entry: Mapping[str, Any]) -> tuple[Column, Stored]:
    vocab_size, width, pad = entry["vocab_size"], entry["width"], entry["pad"]
    if type(pad) not in (int, float) or (vocab_size is not None and not 0 <= pad < _count(vocab_size)):
        raise ValueError(f"the padding {str(pad)[:40]} is not in its column")
    column = Column(
        entry["name"],
        entry["type"],
        vocab_size=vocab_size,
        width=None if width is None else _count(width),
        aligned_with=entry["aligned_with"],
        pad=pad,
    )
    return column, Stored(_count(entry["values"]), str(entry["sha256"]), str(entry["offsets_sha256"]))


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise ValueError(f"{str(value)[:40]} is not a number of lines, positions or ids")
    return value


def _open_column(
    folder: Path, column: Column, stored: Stored, *, count: int, others: Mapping[str, EncodedColumn]
) -> EncodedColumn:
    path = folder / f"{column.name}.bin"
    kind, shape = np.dtype(column.dtype), (stored.values, *column.shape)
    size = math.prod(shape) * kind.itemsize
    require_plain(path)
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes instead of {size}")
    # An empty file cannot be mapped.
    values = np.memmap(path, dtype=kind, mode="r", shape=shape) if size else np.zeros(shape, dtype=kind)
    if column.aligned_with is None:
        offsets = _offsets(folder, column, stored, count=count)
        lengths = np.diff(offsets).astype(np.int32)
    else:
        offsets, lengths = others[column.aligned_with].offsets, others[column.aligned_with].lengths
    if (lengths < 0).any() or offsets[-1] != stored.values:
        raise ValueError(f"{path.name} has {stored.values} positions instead of {offsets[-1]}")
    found = EncodedColumn(column, path, values.view(np.ndarray), offsets, lengths, stored.sha256)
    if column.vocab_size is not None:
        largest = max((int(block.max()) for block in found.blocks()), default=-1)
        if largest >= column.vocab_size:
            raise ValueError(f"{path.name} has the id {largest} in a vocabulary of {column.vocab_size}")
    return found


def _offsets(folder: Path, column: Column, stored: Stored, *, count: int) -> NDArray[np.int64]:
    path = folder / f"{column.name}.offsets.npy"
    require_plain(path)
    if not 0 <= path.stat().st_size - 8 * (count + 1) <= _NPY_HEADER:
        raise ValueError(f"{path.name} does not fit {count} lines")
    # Mapped first: a file may promise a larger array than it holds, which would be allocated.
    offsets: NDArray[np.int64] = np.array(np.load(path, mmap_mode="r"))
    if offsets.dtype != np.int64 or offsets.shape != (count + 1,):
        raise ValueError(f"{path.name} does not fit {count} lines")
    if digest_of(offsets) != stored.offsets_sha256 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError(f"{path.name} is not what was written")
    return offsets


def _other_version(folder: Path, version: object) -> str:
    return (
        f"{folder}: a token cache of version {version}, and this Saccade reads version {VERSION}. Delete the "
        f"folder {folder.parent} and start again: the text will be prepared again, and a resumed run will "
        "see the same batches as before."
    )
