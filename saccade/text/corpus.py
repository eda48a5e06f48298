"""The parallel text: its settings, and its files as aligned lines with file and line number."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from saccade.config import Section
from saccade.errors import InputError
from saccade.text.opening import as_stored, reads_once, refuse_shared, shown, unreadable
from saccade.text.reading import advice, read_lines, unusable


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
    """Source side of the training text, one sentence per line: UTF-8, plain or compressed (gzip, xz, bzip2,
    Zstandard). Several files are read one after another."""
    target: Paths = ()
    """Target side of the training text; line N translates line N of `source`, with as many files."""
    pairs: Paths = ()
    """Training text with source and target on one line, separated by a tab; may be combined with `source`."""
    columns: tuple[int, int] | None = None
    """Numbers of the columns, from 1, that hold source and target in `pairs`, `valid_pairs` and `test_pairs`;
    unset: each line has exactly two columns."""
    fertilities: Paths = ()
    """Number of target pieces of each source piece, one line of whole numbers for each pair, with as many
    files as `source`; a teacher model makes them (model.decoder = "fertility" only)."""
    alignments: Paths = ()
    """Word alignments for `training.guided_alignment`: links i-j of source and target words, counted from 0
    and separated by blanks, one line for each pair, with as many files as `source`; `saccade align` makes
    them."""
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
        if self.columns is not None and (min(self.columns) < 1 or len(set(self.columns)) == 1):
            raise ValueError("columns: name two different columns, counted from 1, such as [1, 2]")
        if self.columns is not None and not (self.pairs or self.valid_pairs or self.test_pairs):
            raise ValueError("columns: only for pairs, valid_pairs and test_pairs; leave it out")
        for split in ("", "valid_", "test_"):
            sources, targets = len(getattr(self, f"{split}source")), len(getattr(self, f"{split}target"))
            if sources != targets:
                raise ValueError(
                    f"{split}source names {sources} and {split}target {targets} files; "
                    "name equally many of both"
                )
        for name in ("fertilities", "valid_fertilities", "alignments"):
            split = "valid_" if name.startswith("valid_") else ""
            labels = len(getattr(self, name))
            if labels and (labels != len(getattr(self, f"{split}source")) or getattr(self, f"{split}pairs")):
                raise ValueError(
                    f"{name} names {labels} files: name one for each file of {split}source, "
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
        names = ("source", "target", "fertilities", "alignments")
        files = {name: getattr(self, f"{split}{name}", ()) for name in names}
        columns = {name: paths for name, paths in files.items() if paths}
        return AlignedFiles(
            columns,
            tabbed=getattr(self, f"{split}pairs"),
            may_be_blank=("fertilities", "alignments"),
            tab_columns=self.columns,
        )


class AlignedFiles(NamedTuple):
    """Files that are read as one text: file i of each column together, then the tabbed files.

    columns: equally many files for each column; line N of one belongs to line N of the others. tabbed: files
    with source and target on one line. may_be_blank: columns whose lines may be blank; in other columns a
    blank line is a problem. tab_columns: numbers of the columns of source and target in tabbed files, from 1;
    None: there are exactly two.
    """

    columns: Mapping[str, Sequence[Path]] = {}
    tabbed: Sequence[Path] = ()
    may_be_blank: Sequence[str] = ()
    tab_columns: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*(path for paths in self.columns.values() for path in paths), *self.tabbed)


class Line(NamedTuple):
    """One line of each column.

    problem: "", or the reason why it cannot be used: "empty" (a column is blank), "columns" (a tabbed line
    without the columns that it needs), or one of `reading`; in the last two cases the texts are "". fault:
    the column with the problem; number: from 1; detail: what exactly is wrong, and how it should be.
    """

    texts: Mapping[str, str]
    files: Mapping[str, Path]
    number: int
    problem: str = ""
    fault: str = ""
    detail: str = ""

    def place(self, column: str = "") -> str:
        """The place file:line of a column, by default of the one with the problem."""
        return f"{shown(self.files[column or self.fault or next(iter(self.files))])}:{self.number}"


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """All lines of two parallel files, empty ones included; raises UserError as `read_side_by_side` does."""
    sources, targets = read_side_by_side([source, target])
    return sources, targets


def read_side_by_side(paths: Sequence[Path]) -> list[list[str]]:
    """All lines of each of several parallel files, empty ones included.

    Raises UserError if a line cannot be used, if the files are empty or differ in their number of lines, or
    if two of them are the same pipe.
    """
    names = [str(number) for number in range(len(paths))]
    texts: list[list[str]] = [[] for _ in paths]
    for line in read_aligned(AlignedFiles({name: [path] for name, path in zip(names, paths, strict=True)})):
        if line.problem and line.problem != "empty":
            raise unusable(line.place(), line.problem)
        for text, name in zip(texts, names, strict=True):
            text.append(line.texts[name])
    return texts


def read_aligned(files: AlignedFiles) -> Iterator[Line]:
    """Yields all lines in order, unusable ones with their `problem`.

    Raises UserError if a file is missing, has no lines, or differs from the files beside it in its number of
    lines (once the end of the shortest one is reached), or if two of them are the same pipe.
    """
    refuse_shared({**files.columns, "pairs": files.tabbed})
    for paths in zip(*files.columns.values(), strict=True):
        together = dict(zip(files.columns, paths, strict=True))
        yield from _read_together(together, may_be_blank=files.may_be_blank)
    for path in files.tabbed:
        yield from _read_tabbed(path, files.tab_columns)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with as_stored(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise unreadable(path, error) from error


def _read_together(files: Mapping[str, Path], *, may_be_blank: Sequence[str]) -> Iterator[Line]:
    names = tuple(files)
    filled = [name for name in names if name not in may_be_blank]
    number = 0
    streams = [read_lines(path) for path in files.values()]
    for number, row in enumerate(zip_longest(*streams), start=1):
        if None in row:
            raise _unequal(tuple(files.values()), row, streams, seen=number - 1)
        columns, problems = zip(*row, strict=True)
        if any(problems):
            name, found = next(pair for pair in zip(names, problems, strict=True) if pair[1])
            yield Line(dict.fromkeys(names, ""), files, number, found, name, advice(found))
            continue
        texts = dict(zip(names, columns, strict=True))
        blank = next((name for name in filled if not texts[name] or texts[name].isspace()), None)
        yield Line(texts, files, number) if blank is None else Line(texts, files, number, "empty", blank)
    if number == 0:
        empty, verb = " and ".join(map(shown, files.values())), "is" if len(files) == 1 else "are"
        raise InputError(f"{empty} {verb} empty: there is nothing to read.")


def _read_tabbed(path: Path, columns: tuple[int, int] | None) -> Iterator[Line]:
    files = {"source": path, "target": path}
    nothing = {"source": "", "target": ""}
    first, second = (0, 1) if columns is None else (columns[0] - 1, columns[1] - 1)
    number = 0
    for number, (text, problem) in enumerate(read_lines(path), start=1):
        if problem:
            yield Line(nothing, files, number, problem, detail=advice(problem))
            continue
        cells = text.split("\t")
        if len(cells) <= max(first, second) or (columns is None and len(cells) > 2):
            yield Line(nothing, files, number, "columns", detail=_wrong_columns(len(cells), columns))
            continue
        source, target = cells[first], cells[second]
        blank = not source or not target or source.isspace() or target.isspace()
        yield Line({"source": source, "target": target}, files, number, "empty" if blank else "")
    if number == 0:
        raise InputError(f"{shown(path)} is empty: there is nothing to read.")


def _wrong_columns(count: int, columns: tuple[int, int] | None) -> str:
    found = "no tab" if count == 1 else f"{count} columns"
    if columns is None:
        return (
            f"{found}; a line must be the source, one tab and the target. If there are more columns, choose "
            "two of them with data.columns"
        )
    return f"{found}; a line must have {max(columns)} columns or more, separated by tabs (data.columns)"


def _unequal(
    paths: Sequence[Path],
    row: Sequence[object],
    streams: Sequence[Iterator[object]],
    *,
    seen: int,
) -> InputError:
    """The error for files of different lengths.

    row: the first incomplete row; streams: the rest of each file; seen: number of lines of the shortest one.
    """
    found = []
    for path, item, rest in zip(paths, row, streams, strict=True):
        if item is not None and reads_once(path):  # it may never end
            found.append(f"{shown(path)} has more than {seen:,} lines")
        else:
            count = seen if item is None else seen + 1 + sum(1 for _ in rest)
            found.append(f"{shown(path)} has {count:,} lines")
    return InputError(
        f"{', '.join(found)}: line N of one file belongs to line N of the others. The shortest ends after "
        f"line {seen:,}. Correct the files, because no line can be dropped safely."
    )
