"""Text files as aligned pairs of lines, with file and line number for whatever is wrong with them.

A line ends at "\\n" and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the
start of a file. Files are read as a stream, those named .gz through gzip.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from saccade.config import Section
from saccade.errors import DamagedFile, InputError, NotFound, UserError
from saccade.text.fertilities import fertilities_of


def _as_tuple(value: object) -> object:
    """One path to a tuple of one; pydantic judges the rest."""
    return (value,) if isinstance(value, str | Path) else value


# Not strict: text is a path in TOML and in Python alike.
Paths = Annotated[
    tuple[Annotated[Path, Field(strict=False)], ...], Field(strict=False), BeforeValidator(_as_tuple)
]


class DataConfig(Section):
    """Where the text is and what of it is used, section `[data]`. Each file entry is one path or a list."""

    source: Paths = ()
    """Training text to translate from, one sentence a line; plain UTF-8 or gzip (.gz)."""
    target: Paths = ()
    """Its translation, line N to line N, as many files as `source`."""
    pairs: Paths = ()
    """Training text with source and target on one line, a tab between them; may stand beside `source`."""
    fertilities: Paths = ()
    """How many target pieces each source piece has, a line of whole numbers for each pair, as many files as
    `source`; a teacher model makes them. Only for model.decoder = "fertility"."""
    valid_source: Paths = ()
    """Validation text; without any, pairs are held out from the training text."""
    valid_target: Paths = ()
    """Its translation."""
    valid_fertilities: Paths = ()
    """Fertilities of the validation text."""
    valid_pairs: Paths = ()
    """Validation text, source, tab, target."""
    test_source: Paths = ()
    """Test text: only looked up in the training text, to report what a score would not show."""
    test_target: Paths = ()
    """Its translation."""
    test_pairs: Paths = ()
    """Test text, source, tab, target."""
    source_language: str | None = None
    """Language of the source: a code such as de or pt-BR, which the model folder keeps; for a model of many
    languages (`training.init_from`), one of those it knows."""
    target_language: str | None = None
    """Language of the target, likewise."""
    max_length: int = Field(default=256, ge=2)
    """Longest sentence in pieces on either side, the end symbol included; longer pairs are dropped."""
    max_ratio: float = Field(default=9.0, ge=1.0)
    """Longer side over shorter side in pieces; pairs beyond it are dropped, except where the longer side has
    no more than 10 pieces."""
    max_dropped: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the training pairs that may be dropped; above it training is refused. 1.0 accepts any loss."""
    holdout: int | None = Field(default=None, ge=0)
    """Training pairs held out for validation when there are no validation files. Without it 2%, at most
    1,000; 0: none."""

    @model_validator(mode="after")
    def _sides_match(self) -> Self:
        for split in ("", "valid_", "test_"):
            sources, targets = len(getattr(self, f"{split}source")), len(getattr(self, f"{split}target"))
            if sources != targets:
                raise ValueError(
                    f"{split}source names {sources} and {split}target {targets} files; "
                    "it takes as many of one as of the other"
                )
        for split in ("", "valid_"):
            labels = len(getattr(self, f"{split}fertilities"))
            if labels and (labels != len(getattr(self, f"{split}source")) or getattr(self, f"{split}pairs")):
                raise ValueError(
                    f"{split}fertilities names {labels} files: it takes one for each file of {split}source, "
                    f"and {split}pairs can have none"
                )
        return self

    @property
    def languages(self) -> dict[str, str]:
        """The languages that are named: "source", "target"."""
        named = {"source": self.source_language, "target": self.target_language}
        return {side: language for side, language in named.items() if language is not None}

    @property
    def train_files(self) -> "PairedFiles":
        """The training files."""
        return PairedFiles(self.source, self.target, self.pairs, self.fertilities)

    @property
    def valid_files(self) -> "PairedFiles":
        """The validation files, possibly none."""
        return PairedFiles(self.valid_source, self.valid_target, self.valid_pairs, self.valid_fertilities)

    @property
    def test_files(self) -> "PairedFiles":
        """The test files, possibly none."""
        return PairedFiles(self.test_source, self.test_target, self.test_pairs)


class PairedFiles(NamedTuple):
    """Files that are read one after another as one text: source i beside target i, then the TSV files.
    fertilities: none, or one beside each source."""

    sources: Sequence[Path] = ()
    targets: Sequence[Path] = ()
    pairs: Sequence[Path] = ()
    fertilities: Sequence[Path] = ()

    def __bool__(self) -> bool:
        return bool(self.sources or self.pairs)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.sources, *self.targets, *self.pairs, *self.fertilities)


class Pair(NamedTuple):
    """One line of both sides. `problem` is "" or why the pair cannot be used: "empty" (nothing or only
    white space on a side), "bad UTF-8", "columns" (a TSV line without exactly one tab); in the last two
    cases the text is "". `file` is the file at fault, else the source file or TSV file; `line` from 1.
    `fertilities`: the numbers, where there are any."""

    source: str
    target: str
    file: Path
    line: int
    problem: str = ""
    fertilities: tuple[int, ...] | None = None

    @property
    def place(self) -> str:
        """file:line"""
        return f"{self.file}:{self.line}"


def read_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Each line with its number from 1, None where it is not UTF-8; the file's bytes decide nothing else.

    Raises UserError when the file cannot be read, and for a .gz that is none or is cut off.
    """
    with opened(path) as stream:
        for number, (line, is_utf8) in enumerate(decoded_lines(stream), start=1):
            yield number, line if is_utf8 else None


def decoded_lines(stream: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Each line of a byte stream and whether it is UTF-8; where it is not, U+FFFD stands for bad bytes."""
    for number, raw in enumerate(stream):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.decode("utf-8"), True
        except UnicodeDecodeError:
            yield line.decode("utf-8", errors="replace"), False


def read_text(path: Path) -> list[str]:
    """All lines of a file; raises UserError when one is not UTF-8 or the file cannot be read."""
    return list(text_lines(path))


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a file as a stream; raises UserError at one that is not UTF-8."""
    return (_is_text(line, path, number) for number, line in read_lines(path))


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """All lines of two files that belong together line by line, empty ones included.

    Raises UserError as `read_text` does, and when the files are empty or differ in their number of lines.
    """
    pairs = list(read_pairs(PairedFiles((source,), (target,))))
    for pair in pairs:
        _is_text(None if pair.problem == "bad UTF-8" else "", pair.file, pair.line)
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def read_pairs(files: PairedFiles) -> Iterator[Pair]:
    """All pairs in order, the unusable ones with their `problem`.

    Raises UserError when a file is missing, holds no line, or has another number of lines than its
    partner (once the end of the shorter one is reached).
    """
    labels: Sequence[Path | None] = files.fertilities or [None] * len(files.sources)
    for source, target, path in zip(files.sources, files.targets, labels, strict=True):
        pairs = _read_two(source, target)
        yield from pairs if path is None else _labelled(pairs, path)
    for path in files.pairs:
        yield from _read_tsv(path)


def file_hash(path: Path) -> str:
    """SHA-256 of the file as it is stored, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _labelled(pairs: Iterable[Pair], path: Path) -> Iterator[Pair]:
    for pair, line in zip_longest(pairs, read_lines(path)):
        if pair is None or line is None:
            raise InputError(
                f"{path} has {'more' if pair is None else 'fewer'} lines than the text it belongs to: line N "
                "of one is for line N of the other. Make it again.",
                topic="fertilities",
            )
        yield pair._replace(fertilities=fertilities_of(line[1], place=f"{path}:{line[0]}"))


def _read_two(source: Path, target: Path) -> Iterator[Pair]:
    count = 0
    for left, right in zip_longest(read_lines(source), read_lines(target)):
        if left is None or right is None:
            raise _unequal(source, target, seen=count)
        count, text = left
        other = right[1]
        if text is None or other is None:
            yield Pair("", "", source if text is None else target, count, "bad UTF-8")
        elif not text or not other or text.isspace() or other.isspace():
            at_fault = source if not text or text.isspace() else target
            yield Pair(text, other, at_fault, count, "empty")
        else:
            yield Pair(text, other, source, count)
    if count == 0:
        raise InputError(f"{source} and {target} are empty: there is nothing to read.")


def _read_tsv(path: Path) -> Iterator[Pair]:
    number = 0
    for number, text in read_lines(path):
        if text is None:
            yield Pair("", "", path, number, "bad UTF-8")
        elif text.count("\t") != 1:
            yield Pair("", "", path, number, "columns")
        else:
            source, _, target = text.partition("\t")
            blank = not source or not target or source.isspace() or target.isspace()
            yield Pair(source, target, path, number, "empty" if blank else "")
    if number == 0:
        raise InputError(f"{path} is empty: there is nothing to read.")


def _unequal(source: Path, target: Path, *, seen: int) -> UserError:
    """Both counts; `seen` lines had a partner, so only the longer file has to be read on."""
    left, right = (sum(1 for _ in read_lines(path)) for path in (source, target))
    return InputError(
        f"{source} has {left:,} lines, {target} has {right:,}: line N of one must translate line N of the "
        f"other. The shorter one ends after line {seen:,}; correct the files, no line can be dropped safely."
    )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked when its name ends in .gz; raises UserError when it cannot be read."""
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(BinaryIO, io.BufferedReader(unpacked, buffer_size=1 << 20))
            else:
                yield raw
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFile(
            f"{path}: named .gz but not gzip, or damaged: {error}. Rename or repack it."
        ) from error
    except EOFError as error:
        raise DamagedFile(f"{path}: the gzip file is cut off; fetch or pack it again.") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _is_text(line: str | None, path: Path, number: int) -> str:
    if line is None:
        raise InputError(f"{path}:{number}: not UTF-8. Correct the line, or convert the file to UTF-8.")
    return line


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path}: no such file.")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: a folder; a text file is needed here.")
    if isinstance(error, PermissionError):
        return NotFound(f"{path}: not allowed to read it; check its permissions.")
    return InputError(f"{path}: cannot be read: {error.strerror or error}.")
