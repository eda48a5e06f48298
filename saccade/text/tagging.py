"""Sentences with a label for each word: their settings, and their columns for a model."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from saccade.config import Section
from saccade.errors import ConfigError, InputError
from saccade.text.columns import Column
from saccade.text.conllu import Field as LabelField
from saccade.text.conllu import read_sentences
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn
from saccade.text.examples import LABELS, SOURCE, ExamplesConfig
from saccade.text.labelled import LabelledTokenizer
from saccade.text.tokenizer import Tokenizer
from saccade.text.vocabulary import without_surrogates
from saccade.text.wordpiece import WordPieceTokenizer
from saccade.text.words import WordTokenizer

SPELLING, FIRSTS = "spelling", "firsts"
_BEGIN, _END, _FIRST_BYTE = 1, 2, 3
_PLACES = "places"  # the index in its sentence of each word's line
_BETWEEN = "\t"  # words of the texts of a line, which cannot contain it


class TaggedConfig(ExamplesConfig):
    """Settings of text with a label for each word: CoNLL-U, or a word, a tab and a label on each line."""

    field: LabelField = "upos"
    """Column of CoNLL-U that has the labels; files of two columns have no other."""
    max_length: int = Field(256, ge=1, le=1 << 16)
    """Maximum number of words of a training sentence (pieces, if a pre-trained encoder reads it); longer ones
    are dropped, and counted."""


class TaggedTokenizerConfig(Section):
    """Settings of a tagger's vocabulary of words."""

    min_count: PositiveInt = 2
    """Number of times that a word must occur in the training text to have a vector of its own. The vector of
    all other words is trained on those below it."""


def tagged_lines(path: Path, *, field: LabelField) -> Iterator[Line]:
    """Yields the sentences of a file as examples; see `read_sentences` for what it raises."""
    files = {SOURCE: path, LABELS: path}
    for sentence in read_sentences(path, field=field, labels=True):
        texts = {
            SOURCE: _BETWEEN.join(sentence.words),
            LABELS: _BETWEEN.join(sentence.labels),
            _PLACES: _BETWEEN.join(map(str, sentence.places)),
        }
        yield Line(texts, files, sentence.number)


def learn_words(
    lines: Callable[[], Iterator[Line]],
    config: TaggedTokenizerConfig,
    *,
    field: LabelField,
    given: Tokenizer | None = None,
) -> LabelledTokenizer:
    """The words that occur often enough, the most frequent ones first, and all labels in their order.

    given: the tokeniser of a model that the run starts from; a labelled one is taken as it is, and another
    one gives the source's pieces.
    """
    if isinstance(given, LabelledTokenizer):
        return given
    words: Counter[str] = Counter()
    labels: set[str] = set()
    for line in lines():
        # A word with a blank, such as the number 1 000, is none that a text file of words could have.
        words.update(word for word in words_of(line) if word.split() == [word])
        labels.update(line.texts[LABELS].split(_BETWEEN))
    if not labels:
        raise InputError("the training text has no sentences.")
    if given is not None:
        return LabelledTokenizer(given, sorted(labels), field=field)
    kept = [word for word in words if words[word] >= config.min_count]
    if not kept:
        raise ConfigError(
            f"tokenizer.min_count = {config.min_count}: no training word occurs as often. Lower it."
        )
    kept.sort(key=lambda word: (-words[word], word))
    return LabelledTokenizer(WordTokenizer(kept), sorted(labels), field=field)


def words_of(line: Line) -> list[str]:
    """The words of an example."""
    return line.texts[SOURCE].split(_BETWEEN)


def sentence_reader(tokenizer: LabelledTokenizer, *, spelled: int | None) -> "SentenceReader":
    """The reader for the pieces of a tokeniser. spelled: number of bytes of a spelling; None: not read."""
    if isinstance(tokenizer.source, WordTokenizer):
        return WordReader(tokenizer, tokenizer.source, spelled=spelled)
    if isinstance(tokenizer.source, WordPieceTokenizer):
        return PieceReader(tokenizer, tokenizer.source)
    kind = getattr(tokenizer.source, "kind", type(tokenizer.source).__name__)
    raise ConfigError(
        "a tagger reads words, or pieces of WordPiece, and the vocabulary that it would take from another "
        f"model is of kind {kind}."
    )


def _word_places(line: Line) -> list[str]:
    """The place file:line of each word of a sentence."""
    file = line.place(LABELS).rpartition(":")[0]
    return [f"{file}:{line.number + int(offset)}" for offset in line.texts[_PLACES].split(_BETWEEN)]


class SentenceReader(ABC):
    """Turns sentences of words into the columns that a tagger reads."""

    words: ClassVar[str]
    """Name of the column that has a position for each word, with which the labels are aligned."""

    def __init__(self, tokenizer: LabelledTokenizer) -> None:
        self.tokenizer = tokenizer

    @property
    @abstractmethod
    def columns(self) -> tuple[TextColumn, ...]:
        """The columns that the model reads."""

    @property
    def with_labels(self) -> tuple[TextColumn, ...]:
        """The columns of a sentence with its labels, one for each word."""
        tokenizer = self.tokenizer

        def numbers(lines: Sequence[Line]) -> list[list[int]]:
            return [
                tokenizer.numbers(line.texts[LABELS].split(_BETWEEN), place=_word_places(line))
                for line in lines
            ]

        labels = Column.ids(LABELS, vocab_size=tokenizer.target_vocab_size, aligned_with=self.words)
        return (*self.columns, TextColumn(labels, numbers))

    def as_lines(self, sentences: Sequence[Sequence[str]]) -> list[Line]:
        """Sentences that are in no file as examples without labels."""
        return [Line({SOURCE: _BETWEEN.join(words)}, {}, 0) for words in sentences]

    @abstractmethod
    def pieces(self, words: Sequence[str]) -> list[str]:
        """What stands at each source position of a sentence."""

    @abstractmethod
    def known(self, words: Sequence[str]) -> list[bool]:
        """For each word, whether the vocabulary has all of it."""


class WordReader(SentenceReader):
    """Reads word ids (`source`) and, if asked, `spelling`."""

    words = SOURCE

    def __init__(self, tokenizer: LabelledTokenizer, source: WordTokenizer, *, spelled: int | None) -> None:
        super().__init__(tokenizer)
        self.spelled, self._words = spelled, source

    @property
    def columns(self) -> tuple[TextColumn, ...]:
        """See `SentenceReader.columns`."""
        words = self._words
        ids = TextColumn(
            Column.ids(SOURCE, vocab_size=words.source_vocab_size, pad=words.pad),
            lambda lines: [words.numbers(words_of(line)) for line in lines],
        )
        width = self.spelled
        if width is None:
            return (ids,)
        spelling = TextColumn(
            Column.numbers(SPELLING, np.uint16, width=width, aligned_with=SOURCE),
            lambda lines: [spell(words_of(line), width) for line in lines],
        )
        return ids, spelling

    def known(self, words: Sequence[str]) -> list[bool]:
        """See `SentenceReader.known`."""
        return [number != self._words.unknown for number in self._words.numbers(words)]

    def pieces(self, words: Sequence[str]) -> list[str]:
        """See `SentenceReader.pieces`."""
        return list(words)


class PieceReader(SentenceReader):
    """Reads the pieces of all words between [CLS] and [SEP] (`source`), and the place of each word's first
    piece (`firsts`)."""

    words = FIRSTS

    def __init__(self, tokenizer: LabelledTokenizer, source: WordPieceTokenizer) -> None:
        super().__init__(tokenizer)
        self._pieces = source

    @property
    def columns(self) -> tuple[TextColumn, ...]:
        """See `SentenceReader.columns`."""
        pieces = self._pieces
        ids = TextColumn(
            Column.ids(SOURCE, vocab_size=pieces.source_vocab_size, pad=pieces.pad),
            lambda lines: [self._cut(words_of(line))[0] for line in lines],
        )
        firsts = TextColumn(
            Column.numbers(FIRSTS, np.uint16), lambda lines: [self._cut(words_of(line))[1] for line in lines]
        )
        return ids, firsts

    def pieces(self, words: Sequence[str]) -> list[str]:
        """See `SentenceReader.pieces`."""
        return self._pieces.source_pieces(self._cut(words)[0])

    def known(self, words: Sequence[str]) -> list[bool]:
        """See `SentenceReader.known`."""
        return [self._pieces.unknown not in self._cut([word])[0] for word in words]

    def _cut(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """The pieces of a sentence, and the place of each word's first piece."""
        ids, firsts = [self._pieces.start], []
        for word in words:
            firsts.append(len(ids))
            # A word of which normalisation leaves nothing still has its label.
            ids += self._pieces.cut(word) or [self._pieces.unknown]
        return [*ids, self._pieces.end], firsts


def spell(words: Sequence[str], width: int) -> NDArray[np.uint16]:
    """The spelling (words, width) of words: a mark, UTF-8 bytes from 3 on, a mark, and zeros.

    The middle of a word that is too long is left out.
    """
    spelled = np.zeros((len(words), width), dtype=np.uint16)
    room = width - 2
    for row, word in zip(spelled, words, strict=True):
        data = without_surrogates(word).encode()
        if len(data) > room:
            data = data[: room - room // 2] + data[len(data) - room // 2 :]
        row[: len(data) + 2] = [_BEGIN, *(_FIRST_BYTE + byte for byte in data), _END]
    return spelled
