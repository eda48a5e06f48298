"""Reading of text files as aligned lines, with file and line number for every problem.

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
    """Turns a single path into a tuple; pydantic validates everything else."""
    return (value,) if isinstance(value, str | Path) else value


# Not strict, so that a string is accepted as a path, in TOML as in Python.
Paths = Annotated[
    tuple[Annotated[Path, Field(strict=False)], ...], Field(strict=False), BeforeValidator(_as_tuple)
]


class DataConfig(Section):
    """Settings of the parallel text, section `[data]`. Each file setting is a path or a list of paths."""

    source: Paths = ()
    """Source side of the training text, one sentence per line; plain UTF-8 or gzip (.gz)."""
    target: Paths = ()
    """Target side of the training text; line N translates line N of `source`, with as many files."""
    pairs: Paths = ()
    """Training text with source and target on one line, separated by a tab; may be combined with `source`."""
    fertilities: Paths = ()
    """Number of target pieces of each source piece, one line of whole numbers for each pair, with as many
    files as `source`; a teacher model makes them (model.decoder = "fertility" only)."""
    valid_source: Paths = ()
    """Source side of the validation text; unset: pairs are held out from the training text."""
    valid_target: Paths = ()
    """Target side of the validation text."""
    valid_fertilities: Paths = ()
    """Fertilities of the validation text."""
    valid_pairs: Paths = ()
    """Validation text with source and target on one line, separated by a tab."""
    test_source: Paths = ()
    """Source side of a test text, used only to report test pairs that occur in the training text."""
    test_target: Paths = ()
    """Target side of the test text."""
    test_pairs: Paths = ()
    """Test text with source and target on one line, separated by a tab."""
    source_language: str | None = None
    """Language of the source: a code such as de or pt-BR, stored in the model folder; for a model of many
    languages (`training.init_from`), one of its languages."""
    target_language: str | None = None
    """Language of the target, as `source_language`."""
    max_length: int = Field(default=256, ge=2)
    """Maximum number of pieces on either side, including the end symbol; longer pairs are dropped."""
    max_ratio: float = Field(default=9.0, ge=1.0)
    """Maximum ratio of the longer side to the shorter side in pieces; pairs beyond it are dropped, unless the
    longer side has at most 10 pieces."""
    max_dropped: float = Field(default=0.1, ge=0.0, le=1.0)
    """Maximum share of training pairs that may be dropped; beyond it training is refused. 1.0: no limit."""
    holdout: int | None = Field(default=None, ge=0)
    """Number of training pairs held out for validation if there are no validation files. Unset: 2%, at most
    1,000; 0: none."""

    @model_validator(mode="after")
    def _sides_match(self) -> Self:
        for split in ("", "valid_", "test_"):
            sources, targets = len(getattr(self, f"{split}source")), len(getattr(self, f"{split}target"))
            if sources != targets:
                raise ValueError(
                    f"{split}source names {sources} and {split}target {targets} files; "
                    "name equally many of both"
                )
        for split in ("", "valid_"):
            labels = len(getattr(self, f"{split}fertilities"))
            if labels and (labels != len(getattr(self, f"{split}source")) or getattr(self, f"{split}pairs")):
                raise ValueError(
                    f"{split}fertilities names {labels} files: name one for each file of {split}source, "
                    f"and {split}pairs can have none"
                )
        return self

    @property
    def languages(self) -> dict[str, str]:
        """The languages that are set, by side ("source", "target")."""
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
    """Files that are read as one text: file i of each column together, then the tabbed files.

    columns: equally many files for each column; line N of one belongs to line N of the others. tabbed: files
    with source and target on one line. may_be_blank: columns whose lines may be blank; in other columns a
    blank line is a problem.
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
    """One line of each column.

    problem: "", or the reason why it cannot be used: "empty" (a column is blank), "bad UTF-8", "columns" (a
    tabbed line without exactly one tab); in the last two cases the texts are "". fault: the column with the
    problem; number: from 1.
    """

    texts: Mapping[str, str]
    files: Mapping[str, Path]
    number: int
    problem: str = ""
    fault: str = ""

    def place(self, column: str = "") -> str:
        """The place file:line of a column, by default of the one with the problem."""
        return f"{self.files[column or self.fault or next(iter(self.files))]}:{self.number}"


def read_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yields each line with its number from 1; a line that is not UTF-8 is None.

    Raises UserError if the file cannot be read, or if a .gz file is not gzip or is cut off.
    """
    with opened(path) as stream:
        for number, (line, is_utf8) in enumerate(decoded_lines(stream), start=1):
            yield number, line if is_utf8 else None


def decoded_lines(stream: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """Yields each line of a byte stream and whether it is UTF-8; U+FFFD replaces bad bytes."""
    for number, raw in enumerate(stream):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if number == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.decode("utf-8"), True
        except UnicodeDecodeError:
            yield line.decode("utf-8", errors="replace"), False


def read_text(path: Path) -> list[str]:
    """All lines of a file; raises UserError if one is not UTF-8 or the file cannot be read."""
    return list(text_lines(path))


def text_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file; raises UserError at a line that is not UTF-8."""
    return (_is_text(line, path, number) for number, line in read_lines(path))


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """All lines of two parallel files, empty ones included.

    Raises UserError as `read_text` does, and if the files are empty or differ in their number of lines.
    """
    lines = list(read_aligned(AlignedFiles({"source": [source], "target": [target]})))
    for line in lines:
        if line.problem == "bad UTF-8":
            raise _not_utf8(line.place())
    return [line.texts["source"] for line in lines], [line.texts["target"] for line in lines]


def read_aligned(files: AlignedFiles) -> Iterator[Line]:
    """Yields all lines in order, unusable ones with their `problem`.

    Raises UserError if a file is missing, has no lines, or differs from the files beside it in its number of
    lines (once the end of the shortest one is reached).
    """
    for paths in zip(*files.columns.values(), strict=True):
        together = dict(zip(files.columns, paths, strict=True))
        yield from _read_together(together, may_be_blank=files.may_be_blank)
    for path in files.tabbed:
        yield from _read_tabbed(path)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
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


def _unequal(paths: Sequence[Path], *, seen: int) -> InputError:
    """The error for files of different lengths; seen: number of lines of the shortest one."""
    counts = [sum(1 for _ in read_lines(path)) for path in paths]
    found = ", ".join(f"{path} has {count:,} lines" for path, count in zip(paths, counts, strict=True))
    return InputError(
        f"{found}: line N of one file belongs to line N of the others. The shortest ends after line "
        f"{seen:,}. Correct the files, because no line can be dropped safely."
    )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file as bytes, unpacked if its name ends in .gz; raises UserError if it cannot be read."""
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
