"""Preparation of labelled examples: a tokeniser, ids on disk, and a report on texts and labels.

The folder that `prepare_examples` writes holds tokenizer/, train/ and valid/ (token caches) and report.json,
which is written last: without it the folder is incomplete. What an example is, its task says: a sentence with
a label for each word, or a text with one label.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, TypeAdapter

from saccade.config import Section
from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.storage.files import write_text
from saccade.storage.structured import SMALL, read_json
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.corpus import Line, Paths, file_hash
from saccade.text.encode import EncodedChunk, Limits, TextColumn, encode_split
from saccade.text.labelled import LabelledTokenizer
from saccade.text.opening import require_files
from saccade.text.prepare import writing
from saccade.text.report import SplitTally
from saccade.text.tokenizer import load_tokenizer

SOURCE, LABELS = "source", "labels"
"""Names of the columns that every example has."""


class ExamplesConfig(Section):
    """Settings of labelled text. Each file setting is a path or a list of paths."""

    text: Paths = ()
    """Training text with its labels: UTF-8, plain or compressed (gzip, xz, bzip2, Zstandard); several files
    are read one after another."""
    valid_text: Paths = ()
    """Validation text with its labels; unset: the last model counts as the best."""
    test_text: Paths = ()
    """Test text with its labels, used only to report examples that occur in the training text."""
    max_length: int = Field(256, ge=2, le=1 << 16)
    """Maximum number of source positions of a training example; longer ones are dropped, and counted."""


@dataclass(frozen=True)
class ExamplesSize:
    """The size of a text. positions: of the source; labels: number of each label; dropped: by cause."""

    examples: int
    positions: int
    longest: int
    unknown: int
    labels: dict[str, int]
    dropped: dict[str, int]
    places: dict[str, list[str]]
    """The first places (file:line) of each cause."""
    seen: int | None = None
    """Number of examples whose source is also in the training text; None for the training text."""

    @property
    def label_count(self) -> int:
        """Number of labels, one for each word or text."""
        return sum(self.labels.values())


@dataclass(frozen=True)
class ExamplesReport:
    """The report on prepared examples. files: SHA-256 of each file, by path."""

    train: ExamplesSize
    valid: ExamplesSize | None
    source_vocab_size: int
    target_vocab_size: int
    files: dict[str, str]
    test_seen: tuple[int, int] | None = None
    """Number of test examples, and of those whose source is also in the training text."""

    @property
    def shared_vocabulary(self) -> bool:
        """Always false: labels are no pieces of the source."""
        return False

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a report from its file; raises OSError or ValueError."""
        return TypeAdapter(cls).validate_python(read_json(path, limit=SMALL))

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
        lines = _size_lines("training", self.train)
        if self.valid is not None:
            lines += _size_lines("validation", self.valid)
        if self.test_seen is not None:
            count, seen = self.test_seen
            lines.append(f"test: {count:,} examples, {seen:,} of them are in the training text")
        lines.append(f"vocabulary: {self.source_vocab_size:,} pieces, {self.target_vocab_size:,} labels")
        return lines


class PreparedExamples(NamedTuple):
    """Prepared examples, from which training reads."""

    tokenizer: LabelledTokenizer
    train: EncodedLines
    valid: EncodedLines | None
    report: ExamplesReport


Read = Callable[[Path], Iterator[Line]]
"""Reads the examples of a file, with the texts `source` and `labels`."""


def prepare_examples(
    config: ExamplesConfig,
    *,
    out: Path,
    read: Read,
    learn: Callable[[Callable[[], Iterator[Line]]], LabelledTokenizer],
    columns: Callable[[LabelledTokenizer], Sequence[TextColumn]],
    least: int,
) -> ExamplesReport:
    """Reads the text, makes the tokeniser and writes everything to `out`.

    learn: makes the tokeniser; it is given a function that yields the training examples again. columns: those
    of an example. least: fewest source positions of an example. Raises UserError if a file cannot be used, or
    for a validation label that the training text does not have.
    """
    if not config.text:
        raise ConfigError("no training text: set data.text.")
    paths = (*config.text, *config.valid_text, *config.test_text)
    require_files(paths)
    files = {str(path): file_hash(path) for path in paths}

    def lines(names: Iterable[Path]) -> Iterator[Line]:
        for path in names:
            yield from read(path)

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        tokenizer = learn(lambda: lines(config.text))
        tokenizer.save(out / "tokenizer")
        writer = _Writer(tokenizer, columns(tokenizer), least=least, max_length=config.max_length)
        train = writer.write(out / "train", lines(config.text), training=True)
        valid = None
        if config.valid_text:
            valid = writer.write(out / "valid", lines(config.valid_text), training=False)
        report = ExamplesReport(
            train,
            valid,
            tokenizer.source_vocab_size,
            tokenizer.target_vocab_size,
            files,
            writer.overlap(lines(config.test_text)) if config.test_text else None,
        )
        text = json.dumps(asdict(report), indent=2, ensure_ascii=False)
        write_text(out / "report.json", f"{text}\n")
    return report


def open_prepared_examples(out: Path) -> PreparedExamples:
    """Opens what `prepare_examples` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = ExamplesReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{out}: no prepared text, or it is incomplete or damaged; prepare it again."
        ) from error
    tokenizer = load_tokenizer(out / "tokenizer")
    if not isinstance(tokenizer, LabelledTokenizer):
        raise DamagedFile(f"{out / 'tokenizer'}: it has no labels. Delete {out}; the text is prepared again.")
    sizes = {SOURCE: tokenizer.source_vocab_size, LABELS: tokenizer.target_vocab_size}
    valid = open_verified(out / "valid", sizes) if report.valid is not None else None
    return PreparedExamples(tokenizer, open_verified(out / "train", sizes), valid, report)


class _Writer:
    """Writes the parts of a text, and remembers what is in the training text."""

    def __init__(
        self, tokenizer: LabelledTokenizer, columns: Sequence[TextColumn], *, least: int, max_length: int
    ) -> None:
        self.tokenizer, self.columns, self.least, self.max_length = tokenizer, columns, least, max_length
        self.seen: set[int] = set()

    def write(self, folder: Path, lines: Iterator[Line], *, training: bool) -> ExamplesSize:
        tally, known = SplitTally(), 0

        def look(_: int, chunk: EncodedChunk) -> None:
            nonlocal known
            texts = [hash(line.texts[SOURCE]) for line in chunk.lines]
            if training:
                self.seen.update(texts)
            known += sum(text in self.seen for text in texts)

        def accept() -> None:
            if tally.read == sum(tally.dropped.values()):
                causes = "".join(f"\n  {line}" for line in tally.lines())
                name = "training" if training else "validation"
                raise InputError(f"no {name} example can be used:{causes or ' the files are empty.'}")

        encoded = encode_split(
            lines,
            folder,
            columns=self.columns,
            limits=Limits((SOURCE,), self.max_length, least=self.least),
            tally=tally,
            look=look,
            accept=accept,
        )
        return self._size(encoded, tally, None if training else known)

    def _size(self, encoded: EncodedLines, tally: SplitTally, seen: int | None) -> ExamplesSize:
        source, labels = encoded[SOURCE], encoded[LABELS]
        counts = np.bincount(labels.values, minlength=self.tokenizer.target_vocab_size).tolist()
        return ExamplesSize(
            examples=len(encoded),
            positions=len(source.values),
            longest=int(source.lengths.max(initial=0)),
            unknown=int((source.values == self.tokenizer.unknown).sum()),
            labels=dict(zip(self.tokenizer.labels, counts, strict=True)),
            dropped=dict(tally.dropped),
            places=tally.places,
            seen=seen,
        )

    def overlap(self, lines: Iterator[Line]) -> tuple[int, int]:
        texts = [hash(line.texts[SOURCE]) for line in lines]
        return len(texts), sum(text in self.seen for text in texts)


def _size_lines(name: str, size: ExamplesSize) -> list[str]:
    share = size.unknown / max(size.positions, 1)
    lines = [
        f"{name}: {size.examples:,} examples, {size.positions:,} pieces, longest {size.longest:,}, unknown "
        f"{share:.2%}"
    ]
    for cause, count in Counter(size.dropped).most_common():
        lines.append(f"  dropped, {cause}: {count:,} ({', '.join(size.places[cause])})")
    if size.seen:
        lines.append(f"  also in the training text: {size.seen:,}")
    shown = Counter(size.labels).most_common(8)
    most = ", ".join(f"{label} {count / max(size.label_count, 1):.1%}" for label, count in shown)
    lines.append(f"  labels: {size.label_count:,}; {most}{', ...' if len(size.labels) > len(shown) else ''}")
    return lines
