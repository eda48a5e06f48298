"""Validation and test pairs that occur in the training text, word for word or nearly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile

from saccade.text.corpus import Line
from saccade.text.folding import Folding, has_letters

PLACES = 10  # number of places listed for each text
_FEW = 3  # places listed of pairs that differ in a few words
_LEAST = 24  # characters of a folded source; with fewer, sentences resemble one another by chance
_DIFFERENT = 8  # at most this part of a sentence, 1 / 8, may differ from its near-copy
_SAMPLE = 500  # training pairs, of which it is seen how many are near to another one
_BUCKET = 16  # sentences with the same half that are compared


@dataclass(frozen=True)
class Duplicates:
    """Counts of the pairs of another text that occur in the training text."""

    checked: int
    pairs: int
    """Number of pairs that equal a training pair; scores on these mean nothing."""
    sources: int
    """Number of pairs whose source side occurs in the training text, including those above."""
    places: list[str]
    """The first of these pairs: file:line = file:line of the training text."""
    folded: int = 0
    """Number of further pairs that differ from a training pair in case, punctuation and blanks alone."""
    near: int = 0
    """Number of further pairs of which both sides differ from a training pair in one place alone, by at most
    an eighth of their length."""
    usual: float = 0.0
    """Share of training pairs that are as near to another training pair, from a sample: in text of few forms
    many are."""
    near_places: list[str] = field(default_factory=list)
    """The first near-copies of both sorts: file:line = file:line of the training text."""


class DuplicateFinder:
    """Finds the pairs of small texts in a large text that is read as a stream."""

    def __init__(self, texts: Mapping[str, Sequence[Line]], fold: Folding) -> None:
        self._texts = texts
        usable = [pair for text in texts.values() for pair in text if not pair.problem]
        self._sources = {pair.texts["source"] for pair in usable}
        self._pairs = {_both(pair) for pair in usable}
        self._folded = {
            _both(pair): (fold(pair.texts["source"]), fold(pair.texts["target"])) for pair in usable
        }
        self._near = NearIndex({one for one in self._folded.values() if has_letters(one[0] + one[1])})
        self._found_sources: set[str] = set()
        self._found_pairs: dict[tuple[str, str], str] = {}
        self._found_near: dict[tuple[str, str], tuple[bool, str]] = {}
        self._sample: NearIndex | None = None
        self._near_sample: set[tuple[str, str]] = set()

    def look_at(self, pairs: Sequence[Line], folded: Sequence[tuple[str, str]]) -> None:
        """Compares a part of the training text with the small texts; folded: its sides, see `Folding`."""
        if not self._texts:
            return
        if self._sample is None:
            self._sample = NearIndex(set(folded[:: -(-len(folded) // _SAMPLE) or 1]))
        for pair, sides in zip(pairs, folded, strict=True):
            source = pair.texts["source"]
            if source in self._sources:
                self._found_sources.add(source)
                if _both(pair) in self._pairs:
                    self._found_pairs.setdefault(_both(pair), pair.place())
            for found in self._near.matches(sides):
                same, known = found == sides, self._found_near.get(found)
                if known is None or (same and not known[0]):
                    self._found_near[found] = same, pair.place()
            self._near_sample.update(found for found in self._sample.matches(sides) if found != sides)

    def report(self) -> dict[str, Duplicates]:
        """The duplicates found, by text."""
        return {name: self._report(pairs) for name, pairs in self._texts.items()}

    def _report(self, pairs: Sequence[Line]) -> Duplicates:
        places = list[str]()
        near: dict[bool, list[str]] = {True: [], False: []}  # by whether they differ in blanks and such alone
        for pair in pairs:
            both = _both(pair)
            if both in self._found_pairs:
                places.append(f"{pair.place()} = {self._found_pairs[both]}")
            elif not pair.problem and (found := self._found_near.get(self._folded[both])):
                near[found[0]].append(f"{pair.place()} = {found[1]}")
        return Duplicates(
            checked=len(pairs),
            pairs=len(places),
            sources=sum(pair.texts["source"] in self._found_sources for pair in pairs),
            places=places[:PLACES],
            folded=len(near[True]),
            near=len(near[False]),
            usual=0.0 if self._sample is None else len(self._near_sample) / max(1, len(self._sample.indexed)),
            near_places=[*near[True], *near[False][:_FEW]][:PLACES],
        )


class NearIndex:
    """Finds folded pairs that equal a given one, or differ from it in one place on each side.

    Sentences of which at most 1 / 8 differs in one place have at least 7 / 16 in common at one of their ends.
    The pairs are looked up by that part of their source, cut to one of few lengths.
    """

    def __init__(self, pairs: set[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._ends: dict[tuple[str, bool], list[tuple[str, str]]] = {}
        self.indexed = set[tuple[str, str]]()
        for pair in sorted(pairs):
            source = pair[0]
            if len(source) < _LEAST:
                continue
            length = _cut(len(source))
            keys = (source[:length], True), (source[-length:], False)
            buckets = [self._ends.setdefault(key, []) for key in keys]
            if all(len(bucket) < _BUCKET for bucket in buckets):
                self.indexed.add(pair)
                for bucket in buckets:
                    bucket.append(pair)

    def matches(self, pair: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """The pairs that equal this one or nearly do."""
        if pair in self._pairs:
            yield pair
        source = pair[0]
        for length in _cuts(len(source)):
            for key in ((source[:length], True), (source[-length:], False)):
                for other in self._ends.get(key, ()):
                    if other != pair and _alike(source, other[0]) and _alike(pair[1], other[1]):
                        yield other


@cache
def _cut(length: int) -> int:
    """The longest of few lengths (powers of 1.3) that 7 / 16 of a sentence of this length reach."""
    part, found = length * 7 / 16, 1.0
    while found * 1.3 <= part:
        found *= 1.3
    return int(found)


@cache
def _cuts(length: int) -> tuple[int, ...]:
    """The lengths at which near-copies of a sentence of this length may have been cut."""
    low, high = length - length // _DIFFERENT, length + length // (_DIFFERENT - 1) + 1
    return (
        () if high < _LEAST else tuple(sorted({_cut(max(other, _LEAST)) for other in range(low, high + 1)}))
    )


def _alike(one: str, other: str) -> bool:
    """Whether two sentences are the same except for one place of at most an eighth of the longer one."""
    shorter, longer = sorted((len(one), len(other)))
    allowed = longer // _DIFFERENT
    if longer - shorter > allowed:
        return False
    first = _common(one, other)
    last = min(_common(one[::-1], other[::-1]), shorter - first)
    return longer - first - last <= allowed


def _common(one: str, other: str) -> int:
    """The length of the common beginning."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


def _both(pair: Line) -> tuple[str, str]:
    return pair.texts["source"], pair.texts["target"]
