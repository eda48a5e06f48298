"""Tables with a header, as lists of candidates, and the preprocessor of their fields."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field, TypeAdapter, model_validator

from saccade.config import Section
from saccade.errors import ConfigError, InputError
from saccade.storage.structured import read_json
from saccade.text.opening import shown
from saccade.text.reading import numbered_lines
from saccade.text.settings import damaged, read_settings, write_settings

_FILE = "fields.json"
_LARGEST = float(np.finfo(np.float32).max)
_FARTHEST = 1e6
"""Standard deviations from the mean at which a number counts as no farther."""


class FieldsConfig(Section):
    """The columns of a table that a ranker reads, section `[tokenizer]`. Names are those of the header."""

    fields: tuple[str, ...] = ()
    """Columns whose values are names, such as a brand; each value that occurs in training gets a vector."""
    numbers: tuple[str, ...] = ()
    """Columns whose values are numbers; each is shifted and scaled to mean 0 and variance 1, and then
    multiplies a vector."""
    history: str | None = None
    """Column of what came before, values of `item` separated by blanks, the latest last."""
    item: str | None = None
    """The one of `fields` whose values the history lists."""
    group: str | None = None
    """Column that says which list a row belongs to; rows of a list stand together. Unset: each row is a list
    of its own."""
    label: str = "label"
    """Column that is 1 for what was chosen and 0 for the rest."""
    min_count: int = Field(1, ge=1)
    """Number of times that a value must occur in training to get a vector of its own."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [*self.fields, *self.numbers]
        if len(set(names)) < len(names):
            raise ValueError("a column stands twice among fields and numbers")
        if self.label in names:
            raise ValueError(
                f"{self.label} is the label, which the model must not read; leave it out of fields"
            )
        if (self.history is None) != (self.item is None) or (
            self.item is not None and self.item not in self.fields
        ):
            raise ValueError("history and item belong together, and item is one of fields")
        return self


class Candidate(NamedTuple):
    """A row of a table: its values by column, and its place file:line."""

    values: dict[str, str]
    place: str


@dataclass(frozen=True)
class Candidates:
    """The rows of one list."""

    rows: tuple[Candidate, ...]


def read_table(path: Path, config: FieldsConfig, *, answers: bool) -> Iterator[Candidates]:
    """Yields the lists of a CSV file. answers: whether the label's column has to be there.

    Raises UserError, with the line, for a missing column, a row of another length, and a wrong value.
    """
    needed = [*config.fields, *config.numbers]
    needed += [name for name in (config.history, config.group, config.label if answers else None) if name]
    with numbered_lines(path) as lines:
        reader = csv.reader((line for _, line in lines), strict=True)
        yield from _lists(path, reader, config, needed=needed, answers=answers)


def _lists(
    path: Path, reader: Any, config: FieldsConfig, *, needed: Sequence[str], answers: bool
) -> Iterator[Candidates]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(f"{shown(path)}:1: not CSV: {error}.") from error
    if header is None:
        raise InputError(f"{shown(path)} is empty: there is nothing to read.")
    missing = [name for name in needed if name not in header]
    if missing or len(set(header)) < len(header):
        wrong = f"no column {', '.join(missing)}" if missing else "a column stands twice"
        raise InputError(f"{shown(path)}:1: {wrong}; the columns are {', '.join(header)}.")
    rows = _rows(path, header, reader, config, answers=answers)
    if config.group is None:
        yield from (Candidates((row,)) for row in rows)
        return
    seen: set[str] = set()
    for key, members in groupby(rows, key=lambda row: row.values[config.group or ""]):
        found = tuple(members)
        if key in seen:
            raise InputError(f"{found[0].place}: the list {key!r} began earlier; put its rows together.")
        seen.add(key)
        yield Candidates(found)


def _rows(
    path: Path, header: list[str], reader: Any, config: FieldsConfig, *, answers: bool
) -> Iterator[Candidate]:
    try:
        for cells in reader:
            place = f"{shown(path)}:{reader.line_num}"
            if len(cells) != len(header):
                raise InputError(f"{place}: {len(cells)} values for {len(header)} columns.")
            row = Candidate(dict(zip(header, cells, strict=True)), place)
            for name in config.numbers:
                number_of(row, name)
            if answers:
                label_of(row, config)
            yield row
    except csv.Error as error:
        raise InputError(f"{shown(path)}:{reader.line_num}: not CSV: {error}.") from error


def number_of(row: Candidate, name: str) -> float:
    """The number in a column; raises UserError, with the line, for anything else."""
    try:
        value = float(row.values[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{row.place}: {name} is {row.values[name][:40]!r} and no number.")
    if abs(value) > _LARGEST:
        raise InputError(f"{row.place}: {name} is {row.values[name][:40]!r}, which is too large for float32.")
    return value


def label_of(row: Candidate, config: FieldsConfig) -> int:
    """The label of a row; raises UserError, with the line, unless it is 0 or 1."""
    value = row.values[config.label].strip()
    if value not in ("0", "1"):
        raise InputError(f"{row.place}: {config.label} is {value[:40]!r}; it has to be 0 or 1.")
    return int(value)


class TableFields:
    """Makes ids of the fields of rows. Each field has an id for values that are unknown; a number has one id.

    values: of each field, in the order of their ids. scales: mean and standard deviation of each number.
    """

    kind: ClassVar[str] = "table"

    def __init__(
        self, config: FieldsConfig, values: Sequence[Sequence[str]], scales: Sequence[tuple[float, float]]
    ) -> None:
        self.config = config
        self.values = [tuple(own) for own in values]
        self.scales = [(float(mean), float(deviation)) for mean, deviation in scales]
        self._ids: list[dict[str, int]] = []
        first = 1  # 0 is padding
        for own in self.values:
            self._ids.append({value: first + number for number, value in enumerate(own, start=1)})
            self._ids[-1][_UNKNOWN] = first
            first += len(own) + 1
        self._numbers = list(range(first, first + len(self.scales)))
        self.source_vocab_size, self.target_vocab_size = first + len(self.scales), 2
        self.pad = self.start = self.end = 0
        self.shared = False

    @classmethod
    def learn(cls, config: FieldsConfig, lists: Callable[[], Iterator[Candidates]]) -> Self:
        """A preprocessor with the values of the training lists. Raises UserError if there are no columns."""
        if not config.fields and not config.numbers:
            raise ConfigError("the model reads no columns: set tokenizer.fields or tokenizer.numbers.")
        counts: list[dict[str, int]] = [{} for _ in config.fields]
        sums = np.zeros((len(config.numbers), 2))
        count = 0
        for one in lists():
            for row in one.rows:
                count += 1
                for own, name in zip(counts, config.fields, strict=True):
                    own[row.values[name]] = own.get(row.values[name], 0) + 1
                for place, name in enumerate(config.numbers):
                    value = number_of(row, name)
                    sums[place] += (value, value * value)
        means = sums[:, 0] / max(count, 1)
        deviations = np.sqrt(np.maximum(sums[:, 1] / max(count, 1) - means**2, 0.0))
        values = [sorted(value for value, n in own.items() if n >= config.min_count) for own in counts]
        return cls(
            config, values, [(m, d or 1.0) for m, d in zip(means.tolist(), deviations.tolist(), strict=True)]
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        try:
            config = FieldsConfig.model_validate_json(json.dumps(read_settings(folder).get("config")))
            found = TypeAdapter(_Stored).validate_python(read_json(folder / _FILE))
            if len(found.values) != len(config.fields) or len(found.scales) != len(config.numbers):
                raise ValueError(f"{_FILE} does not fit the columns of tokenizer.json")
            if any(len(set(own)) < len(own) for own in found.values) or any(
                scale[1] <= 0 for scale in found.scales
            ):
                raise ValueError(f"{_FILE} has a value that stands twice, or a scale that is not positive")
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error
        return cls(config, found.values, found.scales)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and fields.json with the values of fields and the scales of numbers."""
        folder.mkdir(parents=True, exist_ok=True)
        stored = {"values": [list(own) for own in self.values], "scales": [list(one) for one in self.scales]}
        (folder / _FILE).write_text(json.dumps(stored, ensure_ascii=False) + "\n", encoding="utf-8")
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json", exclude_none=True))

    def unknown_ids(self) -> list[int]:
        """The id of each field for values without one of their own."""
        return [ids[_UNKNOWN] for ids in self._ids]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the model reads, in the order of its fields."""
        return (*self.config.fields, *self.config.numbers)

    def ids(self, one: Candidates) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """The ids (rows, fields and numbers) of a list."""
        known = list(zip(self._ids, self.config.fields, strict=True))
        rows = [
            [*(ids.get(row.values[name], ids[_UNKNOWN]) for ids, name in known), *self._numbers]
            for row in one.rows
        ]
        return np.array(rows, dtype=np.uint32).reshape(len(rows), len(self.names))

    def weights(self, one: Candidates) -> np.ndarray[Any, np.dtype[np.float32]]:
        """What multiplies the vector of each id: 1 for a field, the scaled number for a number."""
        scaled = [
            [
                *(1.0 for _ in self.config.fields),
                *(
                    (number_of(row, name) - mean) / deviation
                    for name, (mean, deviation) in zip(self.config.numbers, self.scales, strict=True)
                ),
            ]
            for row in one.rows
        ]
        # A number that training did not lead one to expect must not make the others vanish, or overflow.
        bounded = np.array(scaled).clip(-_FARTHEST, _FARTHEST).reshape(len(scaled), len(self.names))
        return np.asarray(bounded, dtype=np.float32)

    def past(self, one: Candidates) -> list[int]:
        """The ids of what came before a list, an id of padding first, so that there is always something."""
        if self.config.history is None or self.config.item is None:
            return [self.pad]
        ids = self._ids[self.config.fields.index(self.config.item)]
        return [
            self.pad,
            *(ids.get(value, ids[_UNKNOWN]) for value in one.rows[0].values[self.config.history].split()),
        ]

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """A name of each id: a field's value, or the name of a number."""
        names = ["<pad>"]
        for name, own in zip(self.config.fields, self.values, strict=True):
            names += [f"{name}=?", *(f"{name}={value}" for value in own)]
        names += self.config.numbers
        return [names[int(number)] for number in ids]


_UNKNOWN = "\0"  # no value of a table, whose lines have no such character


class _Stored(NamedTuple):
    values: list[list[str]]
    scales: list[tuple[float, float]]
