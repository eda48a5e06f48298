"""Preparation of inputs with answers: their columns on disk, and a report.

The folder that `prepare_tasks` writes holds tokenizer/, train/ and valid/ (token caches) and report.json,
which is written last: without it the folder is incomplete.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field, TypeAdapter

from saccade.config import Section
from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.storage.files import write_text
from saccade.storage.structured import SMALL, read_json
from saccade.text.cache import EncodedLines, open_verified
from saccade.text.corpus import Line, Paths, file_hash
from saccade.text.encode import EncodedChunk, Limits, encode_split
from saccade.text.opening import require_files
from saccade.text.pointing import MOST_INPUTS, SOURCE, TARGET, task_columns, task_lines
from saccade.text.positions import InputPositions
from saccade.text.prepare import writing
from saccade.text.report import SplitTally
from saccade.text.tokenizer import load_preprocessor


class PointedConfig(Section):
    """Settings of inputs with answers: on each line inputs, separated by blanks, a tab and positions."""

    text: Paths = ()
    """Training text: UTF-8, plain or compressed (gzip, xz, bzip2, Zstandard); several files are read one
    after another."""
    valid_text: Paths = ()
    """Validation text; unset: the last model counts as the best."""
    test_text: Paths = ()
    """Test text, used only to report lines whose inputs occur in the training text."""
    max_length: int = Field(1024, ge=1, le=MOST_INPUTS)
    """Maximum number of inputs of a training or validation line; longer ones are dropped, and counted."""


class PointedTokenizerConfig(Section):
    """Inputs are numbers, so that there are no settings of a tokeniser."""


@dataclass(frozen=True)
class PointedSize:
    """The size of a text. positions: number of inputs; answers: number of positions in answers."""

    examples: int
    positions: int
    shortest: int
    longest: int
    answers: int
    lowest: float
    highest: float
    """The smallest and the greatest of all numbers."""
    dropped: dict[str, int]
    places: dict[str, list[str]]
    """The first places (file:line) of each cause."""
    seen: int | None = None
    """Number of examples whose inputs are also in the training text; None for the training text."""


@dataclass(frozen=True)
class PointedReport:
    """The report on prepared examples. files: SHA-256 of each file, by path."""

    train: PointedSize
    valid: PointedSize | None
    numbers: int
    files: dict[str, str]
    test_seen: tuple[int, int] | None = None
    """Number of test examples, and of those whose inputs are also in the training text."""
    source_vocab_size: int = 1
    target_vocab_size: int = 1
    shared_vocabulary: bool = False

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
            lines.append(f"test: {count:,} examples, the inputs of {seen:,} are in the training text")
        return lines


class PreparedTasks(NamedTuple):
    """Prepared examples, from which training reads."""

    tokenizer: InputPositions
    train: EncodedLines
    valid: EncodedLines | None
    report: PointedReport


def prepare_tasks(config: PointedConfig, *, numbers: int, out: Path) -> PointedReport:
    """Reads the text and writes everything to `out`. numbers: of each input.

    Raises UserError if a file cannot be used, and for a line of another form.
    """
    if not config.text:
        raise ConfigError("no training text: set data.text.")
    paths = (*config.text, *config.valid_text, *config.test_text)
    require_files(paths)
    files = {str(path): file_hash(path) for path in paths}

    def lines(names: Iterable[Path]) -> Iterator[Line]:
        for path in names:
            yield from task_lines(path)

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        InputPositions().save(out / "tokenizer")
        writer = _Writer(numbers, config.max_length)
        train = writer.write(out / "train", lines(config.text), training=True)
        valid = None
        if config.valid_text:
            valid = writer.write(out / "valid", lines(config.valid_text), training=False)
        test = writer.overlap(lines(config.test_text)) if config.test_text else None
        report = PointedReport(train, valid, numbers, files, test)
        write_text(out / "report.json", f"{json.dumps(asdict(report), indent=2, ensure_ascii=False)}\n")
    return report


def open_prepared_tasks(out: Path) -> PreparedTasks:
    """Opens what `prepare_tasks` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = PointedReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{out}: no prepared text, or it is incomplete or damaged; prepare it again."
        ) from error
    tokenizer = load_preprocessor(out / "tokenizer")
    if not isinstance(tokenizer, InputPositions):
        raise DamagedFile(
            f"{out / 'tokenizer'}: it has no positions. Delete {out}; the text is prepared again."
        )
    valid = None if report.valid is None else _opened(out / "valid", report.numbers)
    return PreparedTasks(tokenizer, _opened(out / "train", report.numbers), valid, report)


def _opened(folder: Path, numbers: int) -> EncodedLines:
    lines = open_verified(folder, {SOURCE: None, TARGET: None})
    if lines[SOURCE].column.width != numbers:
        raise DamagedFile(
            f"{folder}: its inputs do not have {numbers} numbers. Delete the folder {folder.parent} and "
            "prepare the text again."
        )
    return lines


class _Writer:
    """Writes the parts of a text, and remembers what is in the training text."""

    def __init__(self, numbers: int, max_length: int) -> None:
        self.columns, self.max_length = task_columns(numbers), max_length
        self.seen: set[int] = set()

    def write(self, folder: Path, lines: Iterator[Line], *, training: bool) -> PointedSize:
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
            limits=Limits((SOURCE,), self.max_length, least=1),
            tally=tally,
            look=look,
            accept=accept,
        )
        return _size(encoded, tally, None if training else known)

    def overlap(self, lines: Iterator[Line]) -> tuple[int, int]:
        texts = [hash(line.texts[SOURCE]) for line in lines]
        return len(texts), sum(text in self.seen for text in texts)


def _size(encoded: EncodedLines, tally: SplitTally, seen: int | None) -> PointedSize:
    source, target = encoded[SOURCE], encoded[TARGET]
    blocks = [(float(block.min()), float(block.max())) for block in source.blocks()]
    return PointedSize(
        examples=len(encoded),
        positions=len(source.values),
        shortest=int(source.lengths.min()),
        longest=int(source.lengths.max()),
        answers=len(target.values) - len(encoded),
        lowest=min(low for low, _ in blocks),
        highest=max(high for _, high in blocks),
        dropped=dict(tally.dropped),
        places=tally.places,
        seen=seen,
    )


def _size_lines(name: str, size: PointedSize) -> list[str]:
    lines = [
        f"{name}: {size.examples:,} examples, {size.positions:,} inputs, {size.shortest:,} to "
        f"{size.longest:,} an example, numbers from {size.lowest:.6g} to {size.highest:.6g}",
        f"  answers: {size.answers / size.examples:.1f} positions on average",
    ]
    for cause, count in Counter(size.dropped).most_common():
        lines.append(f"  dropped, {cause}: {count:,} ({', '.join(size.places[cause])})")
    if size.seen:
        lines.append(f"  also in the training text: {size.seen:,}")
    return lines
