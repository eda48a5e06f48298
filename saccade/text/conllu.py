"""Sentences of words with labels: CoNLL-U, two columns, and plain words.

CoNLL-U (https://universaldependencies.org/format.html) has ten columns separated by tabs, comments in front
of a sentence, a blank line behind it, ranges such as 3-4 for words written together, and empty nodes such as
5.1. The second form has a word and its label on each line, and a blank line behind each sentence. The third
has one sentence a line, words separated by blanks, and no labels.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from saccade.errors import InputError
from saccade.text.opening import shown
from saccade.text.reading import numbered_lines

Field = Literal["upos", "xpos", "feats", "deprel"]
"""The columns of CoNLL-U that can be labels."""
FIELDS: dict[Field, int] = {"upos": 3, "xpos": 4, "feats": 5, "deprel": 7}
"""The place of each of them on a line, from 0."""
Form = Literal["conllu", "columns", "words"]

_COLUMNS = 10
_RANGE = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY = re.compile(r"(0|[1-9][0-9]{0,8})\.[1-9][0-9]{0,8}")
_NOTHING = "_"


@dataclass(frozen=True)
class Sentence:
    """A sentence as a file has it.

    words: without the words of ranges and empty nodes; labels: one for each word, or none; lines: all lines,
    comments included; places: the index in `lines` of each word; file, number: its file, and the number of
    its first line, from 1.
    """

    words: tuple[str, ...]
    labels: tuple[str, ...]
    lines: tuple[str, ...]
    places: tuple[int, ...]
    file: str
    number: int
    form: Form

    @property
    def place(self) -> str:
        """The place file:line of its first line."""
        return f"{self.file}:{self.number}"

    @property
    def word_places(self) -> list[str]:
        """The place file:line of each word."""
        return [f"{self.file}:{self.number + place}" for place in self.places]

    def labelled(self, labels: Sequence[str], field: Field) -> list[str]:
        """The lines with other labels in column `field`; plain words become a word and a label a line."""
        if self.form == "words":
            return [f"{word}\t{label}" for word, label in zip(self.words, labels, strict=True)]
        place = FIELDS[field] if self.form == "conllu" else 1
        lines = list(self.lines)
        for number, label in zip(self.places, labels, strict=True):
            cells = lines[number].split("\t")
            lines[number] = "\t".join([*cells[:place], label, *cells[place + 1 :]])
        return lines


def read_sentences(path: Path, *, field: Field, labels: bool) -> Iterator[Sentence]:
    """Yields the sentences of a file, whose form its first line with a word shows.

    labels: whether every word needs a label. Raises UserError, with the line, for a file that cannot be read,
    one that is not of the form that it begins in, and a missing label.
    """
    with numbered_lines(path) as lines:
        head: list[tuple[int, str]] = []
        form: Form = "words"
        for number, line in lines:
            head.append((number, line))
            if line.strip() and not line.startswith("#"):
                form = _form(line, f"{shown(path)}:{number}")
                break
        if form == "words" and labels:
            if not any(line.strip() for _, line in head):
                raise InputError(f"{shown(path)} is empty: there is nothing to read.")
            raise InputError(
                f"{shown(path)}:{head[-1][0]}: no labels: give CoNLL-U (ten columns separated by tabs), or a "
                "word, a tab and its label on each line and a blank line behind each sentence."
            )
        whole, name = chain(head, lines), str(shown(path))
        if form == "words":
            for number, line in whole:
                yield Sentence(tuple(line.split()), (), (line,), (), name, number, form)
        else:
            yield from _Parser(form, field, name, labels=labels).sentences(whole)


def _form(line: str, place: str) -> Form:
    count = line.count("\t") + 1
    if count == 1:
        return "words"
    if count == 2:
        return "columns"
    if count == _COLUMNS:
        return "conllu"
    raise InputError(
        f"{place}: {count} columns; CoNLL-U has ten, separated by tabs, and the other form has two, a word "
        "and its label."
    )


class _Word(NamedTuple):
    """place: the index of its line in the sentence."""

    place: int
    text: str
    label: str


class _Parser:
    """Reads sentences of which each line is a word."""

    def __init__(self, form: Form, field: Field, file: str, *, labels: bool) -> None:
        self.form, self.field, self.file, self.labels = form, field, file, labels

    def sentences(self, lines: Iterable[tuple[int, str]]) -> Iterator[Sentence]:
        """Yields the sentences of numbered lines; a blank line ends one, and so does the end of the file."""
        block: list[str] = []
        first = 1
        for number, line in chain(lines, [(0, "")]):
            if line.strip():
                first = first if block else number
                block.append(line)
            elif block:
                yield self._sentence(block, first)
                block = []

    def _sentence(self, block: list[str], first: int) -> Sentence:
        parse = self._conllu_words if self.form == "conllu" else self._column_words
        words = list(parse(block, first))
        if not words:
            raise InputError(f"{self.file}:{first}: a sentence without words. Leave its comments out.")
        if self.labels:
            for word in words:
                self._require_label(word, first)
        texts, labels = tuple(word.text for word in words), tuple(word.label for word in words)
        places = tuple(word.place for word in words)
        return Sentence(texts, labels, tuple(block), places, self.file, first, self.form)

    def _require_label(self, word: _Word, first: int) -> None:
        # FEATS writes the empty set of features like this; elsewhere it means "not annotated".
        absent = word.label == _NOTHING and self.form == "conllu" and self.field != "feats"
        if absent or not word.label.strip():
            column = f"column {self.field.upper()}" if self.form == "conllu" else "the second column"
            raise InputError(
                f"{self.file}:{first + word.place}: the word {word.text!r} has no label in {column}. Every "
                "word needs one."
            )

    def _column_words(self, block: list[str], first: int) -> Iterator[_Word]:
        for place, line in enumerate(block):
            cells = line.split("\t")
            if len(cells) != 2 or not cells[0].strip():
                raise InputError(
                    f"{self.file}:{first + place}: {len(cells)} columns; a line must be a word, a tab and "
                    "its label."
                )
            yield _Word(place, *cells)

    def _conllu_words(self, block: list[str], first: int) -> Iterator[_Word]:
        count = covered = 0  # words so far; the last word that a range has promised
        begun = False
        for place, line in enumerate(block):
            where = f"{self.file}:{first + place}"
            if line.startswith("#") and not begun:
                continue
            begun = True
            cells = _conllu_cells(line, where)
            number = cells[0]
            if number == str(count + 1):
                count += 1
                if not cells[1].strip():
                    raise InputError(f"{where}: word {count} has no form (column 2).")
                yield _Word(place, cells[1], cells[FIELDS[self.field]])
            elif (found := _RANGE.fullmatch(number)) and int(found[1]) == count + 1 < int(found[2]):
                covered = int(found[2])
            elif not ((found := _EMPTY.fullmatch(number)) and int(found[1]) == count):
                raise InputError(
                    f"{where}: the number {number[:20]!r} where word {count + 1} is expected. Words are "
                    "numbered from 1; a blank line ends a sentence."
                )
        if covered > count:
            raise InputError(
                f"{self.file}:{first}: a range promises word {covered}, but the sentence has {count} words."
            )


def _conllu_cells(line: str, where: str) -> list[str]:
    cells = line.split("\t")
    if len(cells) == _COLUMNS:
        return cells
    if line.startswith("#"):
        raise InputError(
            f"{where}: a comment inside a sentence. Put a blank line between sentences, and comments in "
            "front of the first word."
        )
    raise InputError(f"{where}: {len(cells)} columns; a word in CoNLL-U has ten, separated by tabs.")
