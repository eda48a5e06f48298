"""Lines that occur again in a text that is read as a stream, counted in bounded memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from saccade.text.corpus import Line
from saccade.text.folding import Folding, has_letters

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]

MANY_TARGETS = 10
"""Number of different targets above which a source counts as ambiguous. Texts with several references or
descriptions have about 5."""
_ROWS = 1 << 22  # distinct pairs held at a time: 24 bytes each, 100 MB
_PLACES = 3
_LONG = 24  # characters of a folded line; shorter ones, such as headings, recur in any text
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplication loses nothing


@dataclass(frozen=True)
class Repeats:
    """Counts of training pairs that teach nothing new; case, punctuation and blanks are ignored.

    same: pairs whose sides are the same, and have letters. repeated: pairs that equal an earlier one.
    ambiguous: pairs whose source has more than `MANY_TARGETS` different targets; example: one such source.
    exact: whether the last two are counts; otherwise the text was long, and they are estimates from a sample.
    """

    same: int = 0
    same_places: list[str] = field(default_factory=list)
    repeated: int = 0
    ambiguous: int = 0
    example: str = ""
    exact: bool = True


class RepeatFinder:
    """Counts repeated pairs in a text that is read as a stream."""

    def __init__(self) -> None:
        self._seen = Occurrences()
        self._same, self._places = 0, list[str]()
        self._most, self._example = 0, ""

    def look_at(self, pairs: Sequence[Line], folded: Sequence[tuple[str, str]]) -> None:
        """Counts some pairs; folded: their sides as `Folding` gives them."""
        if not pairs:
            return
        sources = hashes([one[0] or pair.texts["source"] for pair, one in zip(pairs, folded, strict=True)])
        targets = hashes([one[1] or pair.texts["target"] for pair, one in zip(pairs, folded, strict=True)])
        self._seen.add(sources, sources * _MIX + targets)
        for pair, (source, target) in zip(pairs, folded, strict=True):
            if source == target and has_letters(source):
                self._same += 1
                if len(self._places) < _PLACES:
                    self._places.append(pair.place())
        [(example, count)] = Counter(pair.texts["source"] for pair in pairs).most_common(1)
        if count > self._most:
            self._most, self._example = count, example

    def report(self) -> Repeats:
        """What was found."""
        found = self._seen.counted(many=MANY_TARGETS)
        example = self._example if found.ambiguous else ""
        return Repeats(self._same, self._places, found.repeated, found.ambiguous, example, found.exact)


@dataclass(frozen=True)
class LineRepeats:
    """Counts of long lines of running text; case, punctuation and blanks are ignored.

    lines: long lines of the training text; repeated: those that equal an earlier one (exact: whether it is a
    count, see `Repeats`). valid_lines: long lines of the validation text; valid_found: those that occur in
    the training text.
    """

    lines: int = 0
    repeated: int = 0
    exact: bool = True
    valid_lines: int = 0
    valid_found: int = 0


class LineRepeatFinder:
    """Counts repeated lines of running text, and validation lines that it contains."""

    def __init__(self) -> None:
        self._fold, self._seen, self._lines = Folding(), Occurrences(), 0
        self._valid: list[Hashes] = []
        self._sorted: Hashes | None = None
        self._found = np.zeros(0, dtype=np.bool_)

    def look_at_valid(self, lines: Sequence[str]) -> None:
        """Takes a part of the validation text; all of it must be taken before any training text."""
        self._valid.append(self._long(lines))

    def look_at(self, lines: Sequence[str]) -> None:
        """Counts a part of the training text."""
        if self._sorted is None:
            self._sorted = np.sort(np.concatenate([np.zeros(0, np.uint64), *self._valid]))
            self._found = np.zeros(len(self._sorted), dtype=np.bool_)
        found = self._long(lines)
        self._seen.add(found, found)
        self._lines += len(found)
        if len(self._sorted):
            places = np.searchsorted(self._sorted, found).clip(max=len(self._sorted) - 1)
            self._found[places[self._sorted[places] == found]] = True

    def report(self) -> LineRepeats:
        """What was found."""
        seen = self._seen.counted(many=MANY_TARGETS)
        valid = np.zeros(0, np.uint64) if self._sorted is None else self._sorted
        inside = np.isin(valid, valid[self._found])  # a repeated validation line was marked once
        return LineRepeats(self._lines, seen.repeated, seen.exact, len(valid), int(inside.sum()))

    def _long(self, lines: Sequence[str]) -> Hashes:
        folded = map(self._fold, lines)
        return hashes([line for line in folded if len(line) >= _LONG])


class Found(NamedTuple):
    """Numbers of occurrences; see `Repeats`."""

    repeated: int
    ambiguous: int
    exact: bool


class Occurrences:
    """The number of occurrences of keys that belong to groups, such as pairs that have a source in common.

    At most `rows` keys are held. If there are more, only those groups are kept whose hash is a multiple of 2,
    4, 8, ...: all occurrences of a key or none, so that counts can be scaled up (distinct sampling,
    Gibbons 2001).
    """

    def __init__(self, *, rows: int = _ROWS) -> None:
        self._rows, self._level = rows, 0
        self._groups, self._keys = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._counts = np.zeros(0, np.int64)
        self._new: list[tuple[Hashes, Hashes]] = []
        self._waiting = 0

    def add(self, groups: Hashes, keys: Hashes) -> None:
        """Counts an occurrence of each key, whose group is at the same place in `groups`."""
        kept = self._sampled(groups)
        self._new.append((groups[kept], keys[kept]))
        self._waiting += len(self._new[-1][0])
        if self._waiting > self._rows:
            self._merge()

    def counted(self, *, many: int) -> Found:
        """Occurrences that are not the first of their key, and those of groups with more than `many` keys."""
        self._merge()
        _, group, sizes = np.unique(self._groups, return_inverse=True, return_counts=True)
        crowded = sizes[group] > many
        scale = 1 << self._level
        repeated = int(self._counts.sum()) - len(self._keys)
        return Found(repeated * scale, int(self._counts[crowded].sum()) * scale, exact=self._level == 0)

    def _merge(self) -> None:
        """Adds up what is waiting, and samples groups until at most half of the rows are taken."""
        groups = np.concatenate([self._groups, *(group for group, _ in self._new)])
        keys = np.concatenate([self._keys, *(key for _, key in self._new)])
        counts = np.concatenate([self._counts, np.ones(self._waiting, np.int64)])
        self._new, self._waiting = [], 0
        distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
        self._keys, self._groups = distinct, groups[first]
        self._counts = np.bincount(place, weights=counts, minlength=len(distinct)).astype(np.int64)
        while len(self._keys) > self._rows // 2:
            self._level += 1
            kept = self._sampled(self._groups)
            self._groups, self._keys = self._groups[kept], self._keys[kept]
            self._counts = self._counts[kept]

    def _sampled(self, groups: Hashes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = (groups & np.uint64((1 << self._level) - 1)) == 0
        return kept


def hashes(lines: Sequence[str]) -> Hashes:
    """The 64-bit hash of each line, the same in every process."""
    digests = b"".join(blake2b(line.encode("utf-8", "replace"), digest_size=8).digest() for line in lines)
    return np.frombuffer(digests, dtype=np.uint64)
