"""Texts with one label each: how their files are read, and their columns for a model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from saccade.errors import InputError
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn
from saccade.text.examples import LABELS, SOURCE, ExamplesConfig
from saccade.text.labelled import LabelledTokenizer
from saccade.text.language_model import TextTokenizerConfig, learn_pieces
from saccade.text.opening import shown
from saccade.text.reading import numbered_lines
from saccade.text.tokenizer import Tokenizer


class ClassifiedConfig(ExamplesConfig):
    """Settings of texts with one label each: a label, a tab and the text on each line."""


class LabelledText(NamedTuple):
    """A text and its label, "" if it has none, at the place file:line."""

    text: str
    label: str
    place: str


def read_texts(path: Path, *, labels: bool) -> Iterator[LabelledText]:
    """Yields the texts of a file. labels: whether each line begins with a label and a tab.

    Raises UserError, with the line, for a file that cannot be read, and for a line without label or text.
    """
    with numbered_lines(path) as lines:
        for number, line in lines:
            place = f"{shown(path)}:{number}"
            if not labels:
                yield LabelledText(line, "", place)
                continue
            cells = line.split("\t")
            if len(cells) != 2 or not cells[0].strip() or not cells[1].strip():
                raise InputError(f"{place}: {len(cells)} columns; a line must be a label, a tab and a text.")
            yield LabelledText(cells[1], cells[0].strip(), place)


def classified_lines(path: Path) -> Iterator[Line]:
    """Yields the texts of a file as examples; see `read_texts` for what it raises."""
    files = {SOURCE: path, LABELS: path}
    for number, one in enumerate(read_texts(path, labels=True), start=1):
        yield Line({SOURCE: one.text, LABELS: one.label}, files, number)


def learn_texts(
    lines: Callable[[], Iterator[Line]], config: TextTokenizerConfig, *, given: Tokenizer | None = None
) -> LabelledTokenizer:
    """The pieces of the texts, and all labels in their order.

    given: the tokeniser of a model that the run starts from; a labelled one is taken as it is, and another
    one gives the source's pieces.
    """
    if isinstance(given, LabelledTokenizer):
        return given
    labels = sorted({line.texts[LABELS] for line in lines()})
    if not labels:
        raise InputError("the training text has no lines.")
    if given is None:
        given = learn_pieces(config, (line.texts[SOURCE] for line in lines()))
    return LabelledTokenizer(given, labels)


def text_column(tokenizer: LabelledTokenizer) -> TextColumn:
    """The column of a text that a model reads."""
    source = tokenizer.source
    column = Column.ids(SOURCE, vocab_size=source.source_vocab_size, pad=source.pad)
    return TextColumn(column, lambda lines: source.encode_source([line.texts[SOURCE] for line in lines]))


def classified_columns(tokenizer: LabelledTokenizer) -> tuple[TextColumn, TextColumn]:
    """The columns of a text with its label."""

    def numbers(lines: Sequence[Line]) -> list[list[int]]:
        return [tokenizer.numbers([line.texts[LABELS]], place=line.place(LABELS)) for line in lines]

    labels = Column.ids(LABELS, vocab_size=tokenizer.target_vocab_size)
    return text_column(tokenizer), TextColumn(labels, numbers)
