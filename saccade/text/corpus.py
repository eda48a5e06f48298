"""Text files as aligned lines, with file and line number for whatever is wrong with them.

A line ends at "\\n" and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the
start of a file. Files are read as a stream, those named .gz through gzip.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from saccade.config import Section
from saccade.errors import DamagedFile, InputError, NotFound, UserError


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
    def train_files(self) -> "AlignedFiles":
        """The training files."""
        return self._files("")

    @property
    def valid_files(self) -> "AlignedFiles":
        """The validation files, possibly none."""
        return self._files("valid_")

    @property
    def test_files(self) -> "AlignedFiles":
        """The test files, possibly none."""
        return self._files("test_")

    def _files(self, split: str) -> "AlignedFiles":
        names = ("source", "target", "fertilities")
        files = {name: getattr(self, f"{split}{name}", ()) for name in names}
        columns = {name: paths for name, paths in files.items() if paths}
        return AlignedFiles(columns, tabbed=getattr(self, f"{split}pairs"), may_be_blank=("fertilities",))


class AlignedFiles(NamedTuple):
    """Files that are read one after another as one text: file i of each column beside file i of the others,
    then the tabbed files, which have source and target on one line.

    columns: as many files of each column; line N of one belongs to line N of the others. may_be_blank:
    columns whose line may be blank; in the others a blank line is a problem.
    """

    columns: Mapping[str, Sequence[Path]] = {}
    tabbed: Sequence[Path] = ()
    may_be_blank: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*(path for paths in self.columns.values() for path in paths), *self.tabbed)


class Line(NamedTuple):
    """One line of each column. `problem` is "" or why it cannot be used: "empty" (nothing or only white
    space in a column), "bad UTF-8", "columns" (a tabbed line without exactly one tab); in the last two cases
    the texts are "". `fault` is the column at fault, else the first one; `number` counts from 1."""

    texts: Mapping[str, str]
    files: Mapping[str, Path]
    number: int
    problem: str = ""
    fault: str = ""

    def place(self, column: str = "") -> str:
        """file:line of a column; by default of the one at fault."""
        return f"{self.files[column or self.fault or next(iter(self.files))]}:{self.number}"


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
    lines = list(read_aligned(AlignedFiles({"source": [source], "target": [target]})))
    for line in lines:
        if line.problem == "bad UTF-8":
            raise _not_utf8(line.place())
    return [line.texts["source"] for line in lines], [line.texts["target"] for line in lines]


def read_aligned(files: AlignedFiles) -> Iterator[Line]:
    """All lines in order, the unusable ones with their `problem`.

    Raises UserError when a file is missing, holds no line, or has another number of lines than the files
    beside it (once the end of the shortest one is reached).
    """
    for paths in zip(*files.columns.values(), strict=True):
        together = dict(zip(files.columns, paths, strict=True))
        yield from _read_together(together, may_be_blank=files.may_be_blank)
    for path in files.tabbed:
        yield from _read_tabbed(path)


def file_hash(path: Path) -> str:
    """SHA-256 of the file as it is stored, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_together(files: Mapping[str, Path], *, may_be_blank: Sequence[str]) -> Iterator[Line]:
    names = tuple(files)
    filled = [name for name in names if name not in may_be_blank]
    number = 0
    for row in zip_longest(*(read_lines(path) for path in files.values())):
        if None in row:
            raise _unequal(tuple(files.values()), seen=number)
        number = row[0][0]
        texts = {name: text for name, (_, text) in zip(names, row, strict=True) if text is not None}
        if len(texts) < len(names):
            fault = next(name for name in names if name not in texts)
            yield Line(dict.fromkeys(names, ""), files, number, "bad UTF-8", fault)
            continue
        blank = next((name for name in filled if not texts[name] or texts[name].isspace()), None)
        yield Line(texts, files, number) if blank is None else Line(texts, files, number, "empty", blank)
    if number == 0:
        raise UserError(f"{' and '.join(map(str, files.values()))} are empty: there is nothing to read.")


def _read_tabbed(path: Path) -> Iterator[Line]:
    files = {"source": path, "target": path}
    number = 0
    for number, text in read_lines(path):
        if text is None or text.count("\t") != 1:
            problem = "bad UTF-8" if text is None else "columns"
            yield Line({"source": "", "target": ""}, files, number, problem)
            continue
        source, _, target = text.partition("\t")
        blank = not source or not target or source.isspace() or target.isspace()
        yield Line({"source": source, "target": target}, files, number, "empty" if blank else "")
    if number == 0:
        raise InputError(f"{path} is empty: there is nothing to read.")


def _unequal(paths: Sequence[Path], *, seen: int) -> UserError:
    """All counts; `seen` lines are in each file."""
    counts = [sum(1 for _ in read_lines(path)) for path in paths]
    found = ", ".join(f"{path} has {count:,} lines" for path, count in zip(paths, counts, strict=True))
    return UserError(
        f"{found}: line N of one file belongs to line N of the others. The shortest ends after line "
        f"{seen:,}; correct the files, no line can be dropped safely."
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
        raise _not_utf8(f"{path}:{number}")
    return line


def _not_utf8(place: str) -> UserError:
    return UserError(f"{place}: not UTF-8. Correct the line, or convert the file to UTF-8.")


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path}: no such file.")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: a folder; a text file is needed here.")
    if isinstance(error, PermissionError):
        return NotFound(f"{path}: not allowed to read it; check its permissions.")
    return InputError(f"{path}: cannot be read: {error.strerror or error}.")
