"""Token ids on disk, memory-mapped, so that a corpus larger than memory can be trained on.

A cache is a folder: source.bin and target.bin hold the ids of all sentences one after another (uint16
when the vocabulary allows it, else uint32; little-endian), source.offsets.npy and target.offsets.npy
(int64, pairs + 1) where each begins, cache.json the counts and types. It is written beside its place and
renamed at the end, so a half-written one is never opened. Where pairs have fertilities, fertilities.bin
holds one for each source id, 0 for the end symbol.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from saccade.errors import DamagedFile, StorageError

VERSION = 1
SIDES = ("source", "target")
_FERTILITY = np.uint16
Ids = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True)
class Side:
    """One language of a cache: sentence i is `ids[offsets[i]:offsets[i + 1]]`, end symbol included."""

    ids: Ids
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]

    def sentence(self, index: int) -> Ids:
        """Ids of one sentence, a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class EncodedPairs:
    """The pairs of a cache; ids stay on disk until they are asked for."""

    folder: Path
    source_side: Side
    target_side: Side
    fertility_side: Side | None = None
    """In step with `source_side`."""

    @classmethod
    def open(cls, folder: Path) -> "EncodedPairs":
        """Map a finished cache; raises UserError when there is none or it is damaged."""
        try:
            header = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
            if header["version"] != VERSION:
                raise DamagedFile(
                    f"{folder}: a token cache of version {header['version']}; delete it to have it rewritten."
                )
            sides = [_open_side(folder, name, header) for name in SIDES]
            if "fertilities_type" in header:
                sides.append(_open_side(folder, "fertilities", header, offsets="source"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedFile(
                f"{folder}: no token cache, or a damaged one ({error}); delete it and prepare again."
            ) from error
        return cls(folder, *sides)

    def __len__(self) -> int:
        return len(self.source_side.lengths)

    @property
    def source_lengths(self) -> NDArray[np.int32]:
        """Source pieces of each pair, end symbol included."""
        return self.source_side.lengths

    @property
    def target_lengths(self) -> NDArray[np.int32]:
        """Target pieces of each pair, end symbol included."""
        return self.target_side.lengths

    def source(self, index: int) -> Ids:
        """Source ids of one pair, end symbol included."""
        return self.source_side.sentence(index)

    def target(self, index: int) -> Ids:
        """Target ids of one pair, end symbol included, no start symbol."""
        return self.target_side.sentence(index)


class CacheWriter:
    """Writes a cache as a stream of chunks; made by `write_cache`."""

    def __init__(self, folder: Path, *, source_vocab_size: int, target_vocab_size: int) -> None:
        self._folder = folder
        self._types = [_id_type(source_vocab_size), _id_type(target_vocab_size)]
        self._streams = [(folder / f"{side}.bin").open("wb") for side in SIDES]
        self._lengths: list[list[NDArray[np.int64]]] = [[], []]
        self._fertilities: BinaryIO | None = None

    def add(
        self,
        source: Sequence[Sequence[int]],
        target: Sequence[Sequence[int]],
        fertilities: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Append pairs of id sequences; fertilities of all of them or of none, a number a source id."""
        if fertilities is not None:
            if self._fertilities is None:
                self._fertilities = (self._folder / "fertilities.bin").open("wb")
            np.fromiter(chain.from_iterable(fertilities), dtype=_FERTILITY).tofile(self._fertilities)
        if len(source) != len(target):
            raise ValueError(f"{len(source)} source and {len(target)} target sentences")
        for side, sentences in enumerate((source, target)):
            lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
            flat = np.fromiter(
                chain.from_iterable(sentences), dtype=self._types[side], count=int(lengths.sum())
            )
            flat.tofile(self._streams[side])
            self._lengths[side].append(lengths)

    def finish(self) -> None:
        """Write what makes the folder a cache."""
        ends = []
        for name, stream, lengths in zip(SIDES, self._streams, self._lengths, strict=True):
            stream.flush()
            os.fsync(stream.fileno())
            ends.append(np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *lengths])))
            np.save(self._folder / f"{name}.offsets.npy", ends[-1])
        header: dict[str, str | int] = {
            "version": VERSION,
            "pairs": ends[0].size - 1,
            **{f"{name}_type": np.dtype(kind).str for name, kind in zip(SIDES, self._types, strict=True)},
            **{f"{name}_ids": int(end[-1]) for name, end in zip(SIDES, ends, strict=True)},
        }
        if self._fertilities is not None:
            self._fertilities.flush()
            os.fsync(self._fertilities.fileno())
            header |= {"fertilities_type": np.dtype(_FERTILITY).str, "fertilities_ids": int(ends[0][-1])}
        (self._folder / "cache.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Close the files, finished or not."""
        for stream in (*self._streams, self._fertilities):
            if stream is not None:
                stream.close()


@contextmanager
def write_cache(folder: Path, *, source_vocab_size: int, target_vocab_size: int) -> Iterator[CacheWriter]:
    """A writer for `folder`, which appears whole, replacing an older cache, when the block ends without
    an error, and not at all otherwise. Raises UserError when the disk is full or the folder not writable."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        writer = CacheWriter(
            partial, source_vocab_size=source_vocab_size, target_vocab_size=target_vocab_size
        )
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot write the token cache: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _id_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def _open_side(folder: Path, name: str, header: dict[str, int | str], *, offsets: str | None = None) -> Side:
    path, count = folder / f"{name}.bin", int(header[f"{name}_ids"])
    kind = np.dtype(str(header[f"{name}_type"]))
    if path.stat().st_size != count * kind.itemsize:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes instead of {count * kind.itemsize}")
    ends = np.load(folder / f"{offsets or name}.offsets.npy")
    if ends.shape != (int(header["pairs"]) + 1,) or ends[-1] != count:
        raise ValueError(f"{offsets or name}.offsets.npy does not fit")
    # An empty file cannot be mapped.
    ids = np.memmap(path, dtype=kind, mode="r") if count else np.zeros(0, dtype=kind)
    return Side(ids.view(np.ndarray), ends, np.diff(ends).astype(np.int32))
