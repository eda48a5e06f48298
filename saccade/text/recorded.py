"""Preparation of pictures and sounds with their labels or texts: frames on disk, and a report.

The folder that `prepare_recorded` writes is laid out as that of `examples.prepare_examples`. What stands
beside the frames (`source`), its task says: one label, or the characters of a text.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, TypeAdapter

from saccade.config import Section
from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.frames.reading import Frames
from saccade.storage.files import write_text
from saccade.storage.structured import SMALL, read_json
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.columns import Column
from saccade.text.corpus import Line, Paths, file_hash
from saccade.text.encode import EncodedChunk, Limits, TextColumn, encode_split
from saccade.text.examples import SOURCE
from saccade.text.framed import FrameTokenizer
from saccade.text.labelled import LabelledTokenizer
from saccade.text.manifest import read_manifest
from saccade.text.opening import require_files
from saccade.text.prepare import writing
from saccade.text.report import SplitTally
from saccade.text.tokenizer import load_tokenizer

ANSWER = "answer"
"""Name of the text of a line besides its file."""
FrameTokenizers = FrameTokenizer | LabelledTokenizer
"""The tokenisers of models that read frames; a labelled one has a `FrameTokenizer` as its source."""


class RecordedConfig(Section):
    """Settings of pictures and sounds, named by manifests: on each line a file, a tab, and its label or text.
    Names are relative to the manifest's folder. Each setting is a path or a list of paths."""

    text: Paths = ()
    """Training manifest; several are read one after another."""
    valid_text: Paths = ()
    """Validation manifest; unset: the last model counts as the best."""
    test_text: Paths = ()
    """Test manifest, used only to report files whose content is also in the training set."""
    max_length: int = Field(2048, ge=1, le=1 << 16)
    """Maximum number of positions of a training example; longer ones are dropped, and counted."""


@dataclass(frozen=True)
class RecordedSize:
    """The size of a set. positions: of frames; answers: number of each label or character."""

    examples: int
    positions: int
    longest: int
    answers: dict[str, int]
    unknown: int
    """Number of characters that the training set does not have."""
    dropped: dict[str, int]
    places: dict[str, list[str]]
    """The first places (file:line) of each cause."""
    seen: int | None = None
    """Number of examples whose file is also in the training set, by content; None for the training set."""


@dataclass(frozen=True)
class RecordedReport:
    """The report on prepared pictures or sounds. files: SHA-256 of each manifest, by path."""

    train: RecordedSize
    valid: RecordedSize | None
    source_vocab_size: int
    target_vocab_size: int
    files: dict[str, str]
    what: str
    """What the answers consist of: labels or characters."""
    test_seen: tuple[int, int] | None = None
    """Number of test examples, and of those whose content is also in the training set."""

    @property
    def shared_vocabulary(self) -> bool:
        """Always false: a frame is no label and no character."""
        return False

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a report from its file; raises OSError or ValueError."""
        return TypeAdapter(cls).validate_python(read_json(path, limit=SMALL))

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
        lines = _size_lines("training", self.train, self.what)
        if self.valid is not None:
            lines += _size_lines("validation", self.valid, self.what)
        if self.test_seen is not None:
            lines.append(f"test: {self.test_seen[0]:,} files, {self.test_seen[1]:,} of them also in training")
        lines.append(f"frames of {self.source_vocab_size:,} values; {self.target_vocab_size:,} {self.what}")
        return lines


class PreparedRecorded(NamedTuple):
    """Prepared pictures or sounds, from which training reads."""

    tokenizer: FrameTokenizers
    train: EncodedLines
    valid: EncodedLines | None
    report: RecordedReport


def frames_of(tokenizer: FrameTokenizers) -> FrameTokenizer:
    """The part of a tokeniser that reads files."""
    source = tokenizer.source if isinstance(tokenizer, LabelledTokenizer) else tokenizer
    assert isinstance(source, FrameTokenizer)
    return source


def frame_column(tokenizer: FrameTokenizers) -> TextColumn:
    """The column of frames that a model reads; a line names its file in `source`."""
    frames = frames_of(tokenizer)

    def read(lines: Sequence[Line]) -> list[Frames]:
        return [_frames(frames, line) for line in lines]

    return TextColumn(Column.numbers(SOURCE, np.float32, width=frames.config.frame_width), read)


def _frames(tokenizer: FrameTokenizer, line: Line) -> Frames:
    try:
        return tokenizer.frames(Path(line.texts[SOURCE]))
    except InputError as error:
        raise InputError(f"{line.place(SOURCE)}: {error}") from error


def recorded_lines(path: Path) -> Iterator[Line]:
    """Yields the lines of a manifest with answers: the path of the file as `source`, and the `answer`."""
    for number, entry in enumerate(read_manifest(path, answers=True), start=1):
        yield Line({SOURCE: str(entry.path), ANSWER: entry.answer}, {SOURCE: path, ANSWER: path}, number)


Learn = Callable[[Callable[[], Iterator[Line]]], FrameTokenizers]
"""Makes the tokeniser; it is given a function that yields the training lines."""


def prepare_recorded(
    config: RecordedConfig,
    *,
    out: Path,
    learn: Learn,
    answers: Callable[[FrameTokenizers], TextColumn],
    what: str,
) -> RecordedReport:
    """Reads the files, makes the tokeniser and writes everything to `out`.

    answers: the column beside the frames. what: what it consists of, in the report. Raises UserError if a
    file cannot be read, with the manifest's line.
    """
    if not config.text:
        raise ConfigError("no training manifest: set data.text.")
    manifests = (*config.text, *config.valid_text, *config.test_text)
    require_files(manifests)

    def lines(paths: Sequence[Path]) -> Iterator[Line]:
        for path in paths:
            yield from recorded_lines(path)

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        tokenizer = learn(lambda: lines(config.text))
        tokenizer.save(out / "tokenizer")
        writer = _Writer(tokenizer, answers(tokenizer), config.max_length)
        train = writer.write(out / "train", lines(config.text), training=True)
        valid = None
        if config.valid_text:
            valid = writer.write(out / "valid", lines(config.valid_text), training=False)
        report = RecordedReport(
            train,
            valid,
            tokenizer.source_vocab_size,
            tokenizer.target_vocab_size,
            {str(path): file_hash(path) for path in manifests},
            what,
            writer.overlap(lines(config.test_text)) if config.test_text else None,
        )
        write_text(out / "report.json", f"{json.dumps(asdict(report), indent=2, ensure_ascii=False)}\n")
    return report


def open_prepared_recorded(out: Path) -> PreparedRecorded:
    """Opens what `prepare_recorded` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = RecordedReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{out}: nothing prepared, or incomplete or damaged; prepare it again.") from error
    tokenizer = load_tokenizer(out / "tokenizer")
    if not isinstance(tokenizer, FrameTokenizer | LabelledTokenizer):
        raise DamagedFile(f"{out / 'tokenizer'}: it reads no frames. Delete {out}; it is prepared again.")
    valid = open_verified(out / "valid", {}) if report.valid is not None else None
    return PreparedRecorded(tokenizer, open_verified(out / "train", {}), valid, report)


class _Writer:
    """Writes the parts of a set, and remembers what is in the training set."""

    def __init__(self, tokenizer: FrameTokenizers, answers: TextColumn, max_length: int) -> None:
        self.tokenizer, self.answers, self.max_length = tokenizer, answers, max_length
        self.seen: set[bytes] = set()

    def write(self, folder: Path, lines: Iterator[Line], *, training: bool) -> RecordedSize:
        tally, known = SplitTally(), 0

        def look(_: int, chunk: EncodedChunk) -> None:
            nonlocal known
            contents = [_digest(line) for line in chunk.lines]
            if training:
                self.seen.update(contents)
            known += sum(content in self.seen for content in contents)

        def accept() -> None:
            if tally.read == sum(tally.dropped.values()):
                causes = "".join(f"\n  {line}" for line in tally.lines())
                name = "training" if training else "validation"
                raise InputError(f"no {name} example can be used:{causes or ' the manifests are empty.'}")

        encoded = encode_split(
            lines,
            folder,
            columns=(frame_column(self.tokenizer), self.answers),
            limits=Limits((SOURCE,), self.max_length, least=1),
            tally=tally,
            look=look,
            accept=accept,
        )
        return self._size(encoded, tally, None if training else known)

    def _size(self, encoded: EncodedLines, tally: SplitTally, seen: int | None) -> RecordedSize:
        source, answers = encoded[SOURCE], encoded[self.answers.column.name]
        tokenizer = self.tokenizer
        counts = np.bincount(answers.values, minlength=tokenizer.target_vocab_size).tolist()
        names = tokenizer.target_pieces(range(tokenizer.target_vocab_size))
        special = 4 if isinstance(tokenizer, FrameTokenizer) else 0
        return RecordedSize(
            examples=len(encoded),
            positions=len(source.values),
            longest=int(source.lengths.max(initial=0)),
            answers=dict(zip(names[special:], counts[special:], strict=True)),
            unknown=counts[tokenizer.unknown] if special else 0,
            dropped=dict(tally.dropped),
            places=tally.places,
            seen=seen,
        )

    def overlap(self, lines: Iterator[Line]) -> tuple[int, int]:
        contents = [_digest(line) for line in lines]
        return len(contents), sum(content in self.seen for content in contents)


def _digest(line: Line) -> bytes:
    """What stands for the content of a line's file."""
    try:
        return hashlib.sha256(Path(line.texts[SOURCE]).read_bytes()).digest()
    except OSError as error:
        raise InputError(f"{line.place(SOURCE)}: {line.texts[SOURCE]}: {error.strerror or error}.") from error


def _size_lines(name: str, size: RecordedSize, what: str) -> list[str]:
    lines = [f"{name}: {size.examples:,} files, {size.positions:,} positions, longest {size.longest:,}"]
    for cause, count in Counter(size.dropped).most_common():
        lines.append(f"  dropped, {cause}: {count:,} ({', '.join(size.places[cause])})")
    if size.seen:
        lines.append(f"  also in the training set: {size.seen:,}")
    total = max(sum(size.answers.values()) + size.unknown, 1)
    shown = Counter(size.answers).most_common(8)
    most = ", ".join(f"{answer} {count / total:.1%}" for answer, count in shown)
    rest = ", ..." if len(size.answers) > len(shown) else ""
    unknown = f"; unknown {size.unknown / total:.2%}" if size.unknown else ""
    lines.append(f"  {what}: {total:,}; {most}{rest}{unknown}")
    return lines
