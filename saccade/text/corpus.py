"""Text files as aligned pairs of lines, with file and line number for whatever is wrong with them.

A line ends at "\\n" and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the
start of a file. Files are read as a stream, those named .gz through gzip.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from saccade.config import Section
from saccade.errors import UserError


def _as_paths(value: object) -> object:
    """One path or a list of paths, as text or Path, to a tuple of Path; anything else is left for pydantic."""
    if isinstance(value, str | Path):
        value = (value,)
    if isinstance(value, list | tuple):
        return tuple(Path(part) if isinstance(part, str) else part for part in value)
    return value


Paths = Annotated[tuple[Path, ...], BeforeValidator(_as_paths)]


class DataConfig(Section):
    """Where the text is and what of it is used, section `[data]`. Each file entry is one path or a list."""

    source: Paths = ()
    """Training text to translate from, one sentence a line; plain UTF-8 or gzip (.gz)."""
    target: Paths = ()
    """Its translation, line N to line N, as many files as `source`."""
    pairs: Paths = ()
    """Training text with source and target on one line, a tab between them; may stand beside `source`."""
    valid_source: Paths = ()
    """Validation text; without any, pairs are held out from the training text."""
    valid_target: Paths = ()
    """Its translation."""
    valid_pairs: Paths = ()
    """Validation text, source, tab, target."""
    test_source: Paths = ()
    """Test text: only looked up in the training text, to report what a score would not show."""
    test_target: Paths = ()
    """Its translation."""
    test_pairs: Paths = ()
    """Test text, source, tab, target."""
    max_length: int = Field(default=256, ge=2)
    """Longest sentence in pieces on either side, the end symbol included; longer pairs are dropped."""
    max_ratio: float = Field(default=5.0, ge=1.0)
    """Longest side in pieces over the shortest; pairs beyond it are dropped (none whose longer side has at most 10)."""
    max_dropped: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the training pairs that may be dropped; above it training is refused. 1.0 accepts everything."""
    holdout: int | None = Field(default=None, ge=0)
    """Training pairs held out for validation when there are no validation files; without it 2% and at most 1,000."""

    @model_validator(mode="after")
    def _sides_match(self) -> Self:
        for name in ("", "valid_", "test_"):
            sources, targets = getattr(self, f"{name}source"), getattr(self, f"{name}target")
            if len(sources) != len(targets):
                raise ValueError(
                    f"{name}source names {len(sources)} files and {name}target {len(targets)}; give as many of each"
                )
        return self

    @property
    def train_files(self) -> "PairedFiles":
        """The training files."""
        return PairedFiles(self.source, self.target, self.pairs)

    @property
    def valid_files(self) -> "PairedFiles":
        """The validation files, possibly none."""
        return PairedFiles(self.valid_source, self.valid_target, self.valid_pairs)

    @property
    def test_files(self) -> "PairedFiles":
        """The test files, possibly none."""
        return PairedFiles(self.test_source, self.test_target, self.test_pairs)


class PairedFiles(NamedTuple):
    """Files that are read one after another as one text: source i beside target i, then the TSV files."""

    sources: Sequence[Path] = ()
    targets: Sequence[Path] = ()
    pairs: Sequence[Path] = ()

    def __bool__(self) -> bool:
        return bool(self.sources or self.pairs)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.sources, *self.targets, *self.pairs)


class Pair(NamedTuple):
    """One line of both sides. `problem` is "" or why the pair cannot be used: "empty" (nothing or only
    white space on a side), "bad UTF-8", "columns" (a TSV line without exactly one tab); in the last two
    cases the text is "". `file` is the file at fault, else the source file or TSV file; `line` from 1."""

    source: str
    target: str
    file: Path
    line: int
    problem: str = ""

    @property
    def place(self) -> str:
        """file:line"""
        return f"{self.file}:{self.line}"


def read_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Each line with its number from 1, None where it is not UTF-8; the file's bytes decide nothing else.

    Raises UserError when the file cannot be read, and for a .gz that is none or is cut off.
    """
    with _opened(path) as stream:
        for number, raw in enumerate(stream, start=1):
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError:
                yield number, None


def read_pairs(files: PairedFiles) -> Iterator[Pair]:
    """All pairs in order, the unusable ones with their `problem`.

    Raises UserError when a file is missing, holds no line, or has another number of lines than its
    partner (once the end of the shorter one is reached).
    """
    for source, target in zip(files.sources, files.targets, strict=True):
        yield from _read_two(source, target)
    for path in files.pairs:
        yield from _read_tsv(path)


def file_hash(path: Path) -> str:
    """SHA-256 of the file as it is stored, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


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
        raise UserError(f"{source} and {target} are empty: there is nothing to read.")


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
        raise UserError(f"{path} is empty: there is nothing to read.")


def _unequal(source: Path, target: Path, *, seen: int) -> UserError:
    """Both counts; `seen` lines had a partner, so only the longer file has to be read on."""
    counts = [sum(1 for _ in read_lines(path)) for path in (source, target)]
    return UserError(
        f"{source} has {counts[0]:,} lines and {target} has {counts[1]:,}: line N of one must translate line N of "
        f"the other. The shorter one ends after line {seen:,}; mend the files, nothing can be dropped safely."
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(BinaryIO, io.BufferedReader(unpacked, buffer_size=1 << 20))
            else:
                yield raw
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: named .gz but not gzip, or damaged: {error}. Rename or repack it.") from error
    except EOFError as error:
        raise UserError(f"{path}: the gzip file is cut off; fetch or pack it again.") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file.")
    if isinstance(error, IsADirectoryError):
        return UserError(f"{path}: a folder; a text file is needed here.")
    if isinstance(error, PermissionError):
        return UserError(f"{path}: not allowed to read it; check its permissions.")
    return UserError(f"{path}: cannot be read: {error.strerror or error}.")
