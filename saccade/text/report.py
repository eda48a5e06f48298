"""The report on parallel text: pairs kept and dropped, with reasons, pieces, padding and duplicates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter

from saccade.text.cache import EncodedColumn
from saccade.text.corpus import Line
from saccade.text.overlap import PLACES, Duplicates
from saccade.text.repeats import MANY_TARGETS, Repeats


@dataclass(frozen=True)
class SideReport:
    """One side of the kept pairs. Numbers of pieces exclude end symbols; lengths include them."""

    pieces: int
    unknown: int
    """Number of pieces for text outside the vocabulary, which is lost."""
    bytes: int
    """Number of pieces that spell a byte of a character outside the vocabulary."""
    mean_length: float
    max_length: int

    @property
    def unknown_share(self) -> float:
        """Share of unknown pieces."""
        return self.unknown / max(1, self.pieces)

    @property
    def byte_share(self) -> float:
        """Share of pieces that are bytes."""
        return self.bytes / max(1, self.pieces)


@dataclass(frozen=True)
class SplitReport:
    """Counts of the training or validation text: read = kept + dropped (+ held out of the training text)."""

    read: int
    kept: int
    dropped: dict[str, int]
    """Number of pairs by cause: "empty", "columns", "too long", "length ratio", and those of `reading`."""
    places: dict[str, list[str]]
    """The first places (file:line) of each cause."""
    source: SideReport
    target: SideReport
    held_out: int = 0

    @property
    def dropped_share(self) -> float:
        """Share of the pairs read that were dropped."""
        return sum(self.dropped.values()) / max(1, self.read)

    def dropped_lines(self) -> list[str]:
        """Human-readable lines, one for each cause."""
        return _cause_lines(self.dropped, self.places)


@dataclass(frozen=True)
class DataReport:
    """The complete report; `as_dict` and `from_dict` convert it to and from JSON types."""

    train: SplitReport
    valid: SplitReport | None
    duplicates: dict[str, Duplicates]
    """Duplicates by text: "valid", "test"."""
    source_vocab_size: int
    target_vocab_size: int
    shared_vocabulary: bool
    batch_tokens: int
    batches: int
    """Number of batches in an epoch."""
    padding: float
    """Share of padding in these batches, over both sides."""
    files: dict[str, str]
    """SHA-256 of each file read, by path."""
    repeats: Repeats = Repeats()  # noqa: RUF009
    """Training pairs that teach nothing new."""
    tokenize: str | None = None
    """sacreBLEU's tokeniser for the validation text; None: there is none, or an old report."""
    fitting: str | None = None
    """The one that fits the script of the validation text, see `bleu_tokenizer`."""
    languages: dict[str, dict[str, int]] = field(default_factory=dict)
    """By side, number of samples of the training text in each language; only for sides whose language is
    named, and if py3langid is installed."""

    def as_dict(self) -> dict[str, Any]:
        """The report in JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The report from `as_dict`; raises ValueError if something is missing or of another type."""
        return TypeAdapter(cls).validate_python(values)

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
        vocabulary = f"{self.source_vocab_size:,} shared pieces"
        if not self.shared_vocabulary:
            vocabulary = f"{self.source_vocab_size:,} source and {self.target_vocab_size:,} target pieces"
        lines = [*_split_lines("training", self.train), *_repeat_lines(self.repeats)]
        if self.valid is not None:
            lines += _split_lines("validation", self.valid)
        lines.append(f"vocabulary: {vocabulary}")
        lines.append(
            f"batches: {self.batches:,} an epoch at {self.batch_tokens:,} tokens, {self.padding:.1%} padding"
        )
        for name, found in self.duplicates.items():
            lines.append(
                f"{name}: of {found.checked:,} pairs {found.pairs:,} occur in the training text"
                f" (source side alone: {found.sources:,})" + "".join(f"\n  {place}" for place in found.places)
            )
            if found.folded or found.near:
                lines.append(
                    f"  nearly the same: {found.folded:,} except for case, punctuation and blanks, "
                    f"{found.near:,} except for a few words (of training pairs {found.usual:.0%})"
                    + "".join(f"\n  {place}" for place in found.near_places)
                )
        if self.tokenize is not None:
            reason = ", because the target has no blanks between words" if self._without_blanks else ""
            lines.append(f"scores: BLEU with sacreBLEU's tokeniser {self.tokenize}{reason}")
        return lines

    @property
    def _without_blanks(self) -> bool:
        return self.fitting == self.tokenize != "13a"


@dataclass
class SplitTally:
    """Counts that are collected for a `SplitReport`."""

    read: int = 0
    held_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    """What exactly is wrong with the first line of a cause, with its place."""

    def drop(self, cause: str, pair: Line) -> None:
        """Counts a pair that is not used."""
        self.dropped[cause] += 1
        places = self.places.setdefault(cause, [])
        if len(places) < PLACES:
            places.append(pair.place())
        if pair.detail:
            self.details.setdefault(cause, f"{pair.place()}: {pair.detail}")

    def lines(self) -> list[str]:
        """Human-readable lines, one for each cause."""
        return _cause_lines(self.dropped, self.places)

    def report(self, source: SideReport, target: SideReport, *, kept: int) -> SplitReport:
        """The report of these counts."""
        return SplitReport(
            self.read, kept, dict(self.dropped), self.places, source, target, held_out=self.held_out
        )


def side_report(side: EncodedColumn, *, unknown: int, byte_pieces: Sequence[bool]) -> SideReport:
    """The counts of one side of a cache. byte_pieces: for each id, whether it is a byte."""
    counts = np.zeros(len(byte_pieces), dtype=np.int64)
    for block in side.blocks():
        counts += np.bincount(block, minlength=len(byte_pieces))
    return SideReport(
        pieces=len(side.values) - len(side.lengths),
        unknown=int(counts[unknown]),
        bytes=int(counts[np.asarray(byte_pieces)].sum()),
        mean_length=float(side.lengths.mean()) if len(side.lengths) else 0.0,
        max_length=int(side.lengths.max(initial=0)),
    )


def _cause_lines(dropped: Mapping[str, int], places: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{cause}: {count:,} ({_short_places(places[cause])}{', ...' if count > PLACES else ''})"
        for cause, count in sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    ]


def _short_places(places: Sequence[str]) -> str:
    """A list of places that names a file only when it changes: "a.en:3, 7, b.en:2"."""
    shown, last = [], ""
    for place in places:
        file, _, line = place.rpartition(":")
        shown.append(line if file == last else place)
        last = file
    return ", ".join(shown)


def _split_lines(name: str, split: SplitReport) -> list[str]:
    held_out = f", {split.held_out:,} held out for validation" if split.held_out else ""
    lines = [f"{name}: {split.read:,} pairs read, {split.kept:,} kept{held_out}"]
    lines += [f"  dropped, {line}" for line in split.dropped_lines()]
    for side, found in (("source", split.source), ("target", split.target)):
        lines.append(
            f"  {side}: {found.pieces:,} pieces, mean length {found.mean_length:.1f}, "
            f"longest {found.max_length}, unknown {found.unknown_share:.2%}, "
            f"spelled as bytes {found.byte_share:.2%}"
        )
    return lines


def _repeat_lines(found: Repeats) -> list[str]:
    about = "" if found.exact else "about "
    many = f"more than {MANY_TARGETS} targets"
    counts = {
        f"{found.same:,} with the same text on both sides": found.same,
        f"{about}{found.repeated:,} repeat an earlier pair": found.repeated,
        f"{about}{found.ambiguous:,} with a source that has {many}": found.ambiguous,
    }
    shown = ", ".join(text for text, count in counts.items() if count)
    return [f"  pairs: {shown}"] if shown else []
