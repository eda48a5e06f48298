"""The columns of parallel text: source, target and optional fertilities."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saccade.text.batching import Batch, PaddedColumn, collate
from saccade.text.cache import EncodedLines
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import Encoded, TextColumn
from saccade.text.fertilities import fertilities_of, require_fit
from saccade.text.tokenizer import Tokenizer

SIDES = ("source", "target")
"""The columns whose lengths determine the size of a batch."""


def translation_columns(tokenizer: Tokenizer, *, fertilities: bool = False) -> tuple[TextColumn, ...]:
    """The columns of a line: ids of source and target with their end symbols and, with `fertilities`, one
    number for each source id, 0 for the end symbol."""
    pad = tokenizer.pad
    source = Column.ids("source", vocab_size=tokenizer.source_vocab_size, pad=pad)
    target = Column.ids("target", vocab_size=tokenizer.target_vocab_size, pad=pad)
    columns = (
        TextColumn(source, lambda lines: tokenizer.encode_source([line.texts["source"] for line in lines])),
        TextColumn(target, lambda lines: tokenizer.encode_target([line.texts["target"] for line in lines])),
    )
    if not fertilities:
        return columns
    numbers = Column.numbers("fertilities", np.uint16, aligned_with="source")
    return (*columns, TextColumn(numbers, _fertilities, _require_fit))


def collate_translation(
    lines: EncodedLines, indices: Sequence[int] | NDArray[np.int64], *, start: int
) -> Batch:
    """The lines at `indices`, in that order, as one batch; see `translation_batch`."""
    return translation_batch(collate(lines, indices), start=start)


def translation_batch(columns: Mapping[str, PaddedColumn], *, start: int) -> Batch:
    """A batch of these columns and `target_in`, the decoder's input under teacher forcing.

    It is the target with a start symbol in front and without its end symbol.
    """
    return Batch({**columns, "target_in": columns["target"].shifted(start)}, counted="target")


def _fertilities(lines: Sequence[Line]) -> Encoded:
    texts = [(line.texts["fertilities"], line.place("fertilities")) for line in lines]
    return [[*fertilities_of(text, place=place), 0] for text, place in texts]


def _require_fit(line: Line, values: Mapping[str, Sequence[int]]) -> None:
    require_fit(
        values["fertilities"][:-1],
        source=len(values["source"]) - 1,
        target=len(values["target"]) - 1,
        place=line.place(),
    )
