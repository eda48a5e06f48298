"""WordPiece, the tokeniser of BERT (Devlin et al. 2019; Schuster and Nakajima 2012; vocab.txt).

A text is cleaned and cut at white space, at punctuation and, as in multilingual and Chinese models, around
every Chinese character. Each word is then cut into the longest pieces of the vocabulary from left to right; a
piece that does not begin a word is written with ## before it. A word that cannot be cut like this is unknown.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import sentencepiece

from saccade.config import Section
from saccade.storage.structured import read_bytes
from saccade.text.lines import require_lines, require_many
from saccade.text.settings import damaged, read_settings, write_settings
from saccade.text.vocabulary import TokenizerConfig, learn_model, without_surrogates

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILE = "vocab.txt"
_INSIDE = "##"
_LONGEST = 100  # characters of a word; a longer one is unknown, as in BERT
_CHINESE = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class WordPieceConfig(Section):
    """How text is normalised before it is cut."""

    lowercase: bool = True
    """Whether letters become small ones."""
    strip_accents: bool | None = None
    """Whether accents are taken off letters; unset: if letters become small ones."""
    chinese_characters: bool = True
    """Whether every Chinese character is a word of its own."""


class WordPieceTokenizer:
    """BERT's tokeniser. The start symbol is [CLS], the end symbol is [SEP]; texts begin and end with them.

    A special symbol that stands in a text, such as [MASK], is that symbol.
    """

    kind: ClassVar[str] = "wordpiece"

    def __init__(self, pieces: Sequence[str], config: WordPieceConfig) -> None:
        """pieces: the vocabulary in the order of the ids. Raises ValueError if a symbol is missing."""
        self._pieces, self.config = list(pieces), config
        self._ids: dict[str, int] = {}
        for number, piece in enumerate(self._pieces):
            self._ids[piece] = number  # of a piece that stands twice, the last id counts, as in BERT
        if missing := [name for name in SPECIAL if name not in self._ids]:
            raise ValueError(f"the vocabulary lacks {', '.join(missing)}")
        self.pad, self.unknown, self.start, self.end, self.mask = (self._ids[name] for name in SPECIAL)
        self.source_vocab_size = self.target_vocab_size = len(self._pieces)
        self.shared = True
        self._longest = max(map(len, self._pieces))

    @classmethod
    def learn(cls, lines: Iterable[str], *, vocab_size: int | None, config: WordPieceConfig) -> Self:
        """Learns pieces by byte-pair encoding and writes them in the form of WordPiece.

        Raises UserError if the text is empty or too short for the vocabulary size.
        """
        require_many(lines, "lines")
        settings = TokenizerConfig(vocab_size=vocab_size, byte_fallback=False)
        words = (" ".join(words_of(line, config)) for line in lines)
        processor = sentencepiece.SentencePieceProcessor(
            model_proto=learn_model(settings, words, side="text")
        )
        learned = [processor.id_to_piece(number) for number in range(4, len(processor))]
        mark = "\N{LOWER ONE EIGHTH BLOCK}"
        pieces = dict.fromkeys(SPECIAL)
        for piece in learned:
            if piece != mark:
                pieces[piece[1:] if piece.startswith(mark) else _INSIDE + piece] = None
        # Single characters begin words as well, so that every word of known characters can be cut.
        for piece in learned:
            if len(piece) == 1 and piece != mark:
                pieces[piece] = None
        return cls(list(pieces), config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if a file is missing or damaged."""
        settings = read_settings(folder).get("config")
        try:
            config = WordPieceConfig.model_validate(settings)
            return cls(read_vocabulary(folder / FILE), config)
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and vocab.txt, one piece a line."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes("".join(f"{piece}\n" for piece in self._pieces).encode("utf-8"))
        write_settings(folder, kind=self.kind, config=self.config.model_dump(mode="json"))

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line between [CLS] and [SEP]."""
        return [[self.start, *self.cut(line), self.end] for line in require_lines(lines, "lines")]

    encode_target = encode_source

    def cut(self, text: str) -> list[int]:
        """The ids of a text without the symbols at its ends."""
        return [
            number
            for part, special in _split_special(text)
            for number in ([self._ids[part]] if special else self._cut_plain(part))
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The words of ids with single blanks between them, without padding and the symbols at the ends."""
        hidden = {self.pad, self.start, self.end}
        words: list[str] = []
        for piece in self.source_pieces([number for number in ids if number not in hidden]):
            if piece.startswith(_INSIDE) and words:
                words[-1] += piece.removeprefix(_INSIDE)
            else:
                words.append(piece)
        return " ".join(words)

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces of ids."""
        return [self._pieces[int(number)] for number in ids]

    target_pieces = source_pieces

    def _cut_plain(self, text: str) -> list[int]:
        return [number for word in words_of(text, self.config) for number in self._cut_word(word)]

    def _cut_word(self, word: str) -> list[int]:
        if len(word) > _LONGEST:
            return [self.unknown]
        numbers, begin = [], 0
        while begin < len(word):
            prefix = _INSIDE if begin else ""
            for end in range(min(len(word), begin + self._longest), begin, -1):
                number = self._ids.get(prefix + word[begin:end])
                if number is not None:
                    break
            else:
                return [self.unknown]
            numbers.append(number)
            begin = end
        return numbers


def read_vocabulary(path: Path) -> list[str]:
    """The pieces of a vocab.txt, one a line; raises OSError or ValueError."""
    pieces = read_bytes(path).decode("utf-8").removesuffix("\n").split("\n")
    return [piece.removesuffix("\r") for piece in pieces]


def words_of(text: str, config: WordPieceConfig) -> list[str]:
    """The words of a text after normalisation: BERT's BasicTokenizer."""
    text = "".join(_cleaned(without_surrogates(text)))
    if config.chinese_characters:
        text = "".join(f" {one} " if _is_chinese(one) else one for one in text)
    text = unicodedata.normalize("NFC", text)
    if config.lowercase:
        text = text.lower()
    strip = config.lowercase if config.strip_accents is None else config.strip_accents
    if strip:
        text = "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn")
    return [part for word in text.split() for part in _split_punctuation(word)]


def _cleaned(text: str) -> Iterator[str]:
    for one in text:
        if one in "\t\n\r" or unicodedata.category(one) == "Zs":
            yield " "
        elif one not in "\0\ufffd" and not unicodedata.category(one).startswith("C"):
            yield one


def _is_chinese(one: str) -> bool:
    return any(first <= ord(one) <= last for first, last in _CHINESE)


def _split_punctuation(word: str) -> Iterator[str]:
    begin = 0
    for place, one in enumerate(word):
        # ASCII signs such as $ and ` count, although Unicode has them as symbols.
        if unicodedata.category(one).startswith("P") or (one.isascii() and not one.isalnum()):
            if begin < place:
                yield word[begin:place]
            yield one
            begin = place + 1
    if begin < len(word):
        yield word[begin:]


def _split_special(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text and whether each is a special symbol."""
    rest = text
    while rest:
        found = [(place, name) for name in SPECIAL if (place := rest.find(name)) >= 0]
        if not found:
            yield rest, False
            return
        place, name = min(found)
        if place:
            yield rest[:place], False
        yield name, True
        rest = rest[place + len(name) :]
