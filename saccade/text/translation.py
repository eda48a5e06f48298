"""The columns of parallel text: source, target and optional fertilities or alignments."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from saccade.text.batching import Batch, PaddedColumn, collate
from saccade.text.cache import EncodedLines
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import Encoded, TextColumn
from saccade.text.fertilities import fertilities_of, require_fit
from saccade.text.pharaoh import links_of, spread
from saccade.text.pharaoh import require_fit as require_words
from saccade.text.tokenizer import Tokenizer
from saccade.text.word_pieces import word_numbers

SIDES = ("source", "target")
"""The columns whose lengths determine the size of a batch."""


def translation_columns(
    tokenizer: Tokenizer, *, fertilities: bool = False, alignments: bool = False
) -> tuple[TextColumn, ...]:
    """The columns of a line: ids of source and target with their end symbols.

    fertilities: also one number for each source id, 0 for the end symbol. alignments: also the links of
    pieces, pairs of a source and a target position.
    """
    pad = tokenizer.pad
    source = Column.ids("source", vocab_size=tokenizer.source_vocab_size, pad=pad)
    target = Column.ids("target", vocab_size=tokenizer.target_vocab_size, pad=pad)
    columns: tuple[TextColumn, ...] = (
        TextColumn(source, lambda lines: tokenizer.encode_source([line.texts["source"] for line in lines])),
        TextColumn(target, lambda lines: tokenizer.encode_target([line.texts["target"] for line in lines])),
    )
    if fertilities:
        numbers = Column.numbers("fertilities", np.uint16, aligned_with="source")
        columns = (*columns, TextColumn(numbers, _fertilities, _require_fit))
    if alignments:
        links = Column.numbers("alignments", np.uint16, width=2)
        columns = (*columns, TextColumn(links, partial(_links, tokenizer)))
    return columns


def piece_links(tokenizer: Tokenizer, lines: Sequence[Line], source: Encoded, target: Encoded) -> Encoded:
    """The links of pieces of each line, (links, 2) source and target positions, from its links of words.

    source, target: the ids of the lines, in any segmentation. A piece is linked with every piece of each word
    that its own word is linked with. Raises UserError for a line that is not one of links of its words.
    """
    sources, targets = ([line.texts[side] for line in lines] for side in SIDES)
    numbers = (
        word_numbers(tokenizer, sources, source, side="source"),
        word_numbers(tokenizer, targets, target, side="target"),
    )
    found = []
    for line, one, other in zip(lines, *numbers, strict=True):
        place = line.place("alignments")
        links = links_of(line.texts["alignments"], place=place)
        require_words(links, line.texts["source"], line.texts["target"], place=place)
        found.append(np.array(spread(links, one, other), dtype=np.uint16).reshape(-1, 2))
    return found


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


def _links(tokenizer: Tokenizer, lines: Sequence[Line]) -> Encoded:
    source = tokenizer.encode_source([line.texts["source"] for line in lines])
    target = tokenizer.encode_target([line.texts["target"] for line in lines])
    return piece_links(tokenizer, lines, source, target)


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
