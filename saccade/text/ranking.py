"""Lists of candidates: preparation for training, and their columns for a model."""

import json
from collections.abc import Callable, Iterator, Sequence
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
from saccade.text.cache_writer import write_cache
from saccade.text.columns import Column
from saccade.text.corpus import Paths, file_hash
from saccade.text.encode import Encoded, chunks
from saccade.text.opening import require_files
from saccade.text.prepare import writing
from saccade.text.table import Candidates, FieldsConfig, TableFields, label_of, read_table
from saccade.text.tokenizer import load_preprocessor

SOURCE, WEIGHTS, HISTORY, LABELS = "source", "weights", "history", "labels"
_CHUNK = 2_000


class RankingConfig(Section):
    """Settings of tables: CSV with a header, a candidate on each row. Each setting is a path or a list of
    paths."""

    text: Paths = ()
    """Training table; several are read one after another."""
    valid_text: Paths = ()
    """Validation table; unset: the last model counts as the best."""
    max_length: int = Field(512, ge=1, le=1 << 16)
    """Maximum number of candidates of a training list; longer ones are dropped, and counted."""
    max_history: int = Field(50, ge=1, le=4096)
    """Number of items of a history that are read, the latest ones."""


@dataclass(frozen=True)
class RankingSize:
    """The size of a table. chosen: rows whose label is 1; unknown: values without a vector of their own."""

    lists: int
    candidates: int
    longest: int
    chosen: int
    unknown: int
    dropped: int


@dataclass(frozen=True)
class RankingReport:
    """The report on prepared tables. files: SHA-256 of each file, by path."""

    train: RankingSize
    valid: RankingSize | None
    source_vocab_size: int
    target_vocab_size: int
    files: dict[str, str]

    @property
    def shared_vocabulary(self) -> bool:
        """Always false: labels are no values of fields."""
        return False

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a report from its file; raises OSError or ValueError."""
        return TypeAdapter(cls).validate_python(read_json(path, limit=SMALL))

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
        parts = [("training", self.train)] + ([] if self.valid is None else [("validation", self.valid)])
        lines = []
        for name, size in parts:
            lines.append(
                f"{name}: {size.lists:,} lists of {size.candidates:,} candidates, longest {size.longest:,}, "
                f"{size.chosen / max(size.candidates, 1):.1%} chosen"
            )
            if size.dropped:
                lines.append(f"  dropped, too long: {size.dropped:,}")
            if size.unknown:
                lines.append(f"  values that are unknown: {size.unknown:,}")
        lines.append(f"fields: {self.source_vocab_size:,} values and numbers")
        return lines


class PreparedRanking(NamedTuple):
    """Prepared tables, from which training reads."""

    tokenizer: TableFields
    train: EncodedLines
    valid: EncodedLines | None
    report: RankingReport


class RankingColumn(NamedTuple):
    """A column, and the function that makes its values of lists."""

    column: Column
    encode: Callable[[Sequence[Candidates]], Encoded]


def ranking_columns(tokenizer: TableFields, *, max_history: int) -> tuple[RankingColumn, ...]:
    """The columns of a list that a model reads: ids and weights of the fields, and the history."""
    width = len(tokenizer.names)
    past = Column.ids(HISTORY, vocab_size=tokenizer.source_vocab_size)
    kind = np.dtype(past.dtype)

    def latest(one: Candidates) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        found = tokenizer.past(one)
        return np.array([*found[:1], *found[1:][-max_history:]], dtype=kind)

    return (
        RankingColumn(
            Column.numbers(SOURCE, np.uint32, width=width),
            lambda lists: [tokenizer.ids(one) for one in lists],
        ),
        RankingColumn(
            Column.numbers(WEIGHTS, np.float32, width=width, aligned_with=SOURCE),
            lambda lists: [tokenizer.weights(one) for one in lists],
        ),
        RankingColumn(past, lambda lists: [latest(one) for one in lists]),
    )


def prepare_ranking(
    config: RankingConfig, fields: FieldsConfig, *, out: Path, tokenizer: TableFields | None
) -> RankingReport:
    """Reads the tables, makes the preprocessor unless one is given, and writes everything to `out`.

    Raises UserError if a table cannot be used, with the line.
    """
    if not config.text:
        raise ConfigError("no training table: set data.text.")
    files = (*config.text, *config.valid_text)
    require_files(files)
    read = tokenizer.config if tokenizer is not None else fields

    def lists(paths: Sequence[Path]) -> Iterator[Candidates]:
        for path in paths:
            yield from read_table(path, read, answers=True)

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        if tokenizer is None:
            tokenizer = TableFields.learn(fields, lambda: lists(config.text))
        tokenizer.save(out / "tokenizer")
        train = _write(out / "train", lists(config.text), tokenizer, config)
        valid = (
            _write(out / "valid", lists(config.valid_text), tokenizer, config) if config.valid_text else None
        )
        report = RankingReport(
            train,
            valid,
            tokenizer.source_vocab_size,
            tokenizer.target_vocab_size,
            {str(path): file_hash(path) for path in files},
        )
        write_text(out / "report.json", f"{json.dumps(asdict(report), indent=2, ensure_ascii=False)}\n")
    return report


def open_prepared_ranking(out: Path) -> PreparedRanking:
    """Opens what `prepare_ranking` wrote to `out`; raises UserError if it is incomplete or damaged."""
    try:
        report = RankingReport.read(out / "report.json")
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{out}: nothing prepared, or incomplete or damaged; prepare it again.") from error
    tokenizer = load_preprocessor(out / "tokenizer")
    if not isinstance(tokenizer, TableFields):
        raise DamagedFile(f"{out / 'tokenizer'}: it reads no tables. Delete {out}; it is prepared again.")
    valid = open_verified(out / "valid", {}) if report.valid is not None else None
    return PreparedRanking(tokenizer, open_verified(out / "train", {}), valid, report)


def _write(
    folder: Path, lists: Iterator[Candidates], tokenizer: TableFields, config: RankingConfig
) -> RankingSize:
    labels = RankingColumn(
        Column.ids(LABELS, vocab_size=2, aligned_with=SOURCE),
        lambda lists: [[label_of(row, tokenizer.config) for row in one.rows] for one in lists],
    )
    columns = (*ranking_columns(tokenizer, max_history=config.max_history), labels)
    dropped = chosen = 0
    unknown = np.array(tokenizer.unknown_ids())
    lacking = 0
    with write_cache(folder, [one.column for one in columns]) as writer:
        for chunk in chunks(lists, _CHUNK):
            fitting = [one for one in chunk if len(one.rows) <= config.max_length]
            dropped += len(chunk) - len(fitting)
            values = {one.column.name: one.encode(fitting) for one in columns}
            chosen += sum(map(sum, values[LABELS]))
            lacking += sum(int(np.isin(ids, unknown).sum()) for ids in values[SOURCE])
            writer.add(values)
    encoded = EncodedLines.open(folder)
    if not len(encoded):
        raise InputError("no list can be used: the tables have no rows, or all lists are too long.")
    lengths = encoded[SOURCE].lengths
    return RankingSize(len(encoded), int(lengths.sum()), int(lengths.max()), chosen, lacking, dropped)
