"""Tokenisers without SentencePiece: whole words, and bytes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

from saccade.errors import ConfigError, InputError
from saccade.storage.structured import read_bytes
from saccade.text.imported import one_line
from saccade.text.lines import require_lines, require_many
from saccade.text.settings import damaged, write_settings
from saccade.text.vocabulary import END, PAD, START, UNKNOWN, without_surrogates

_SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
"""Names of the ids PAD, UNKNOWN, START and END."""
_FILE = "words.txt"


class WordTokenizer:
    """A tokeniser whose pieces are words between white space; `decode` joins them with single spaces.

    Words outside the vocabulary become the unknown word, written <unk>. It keeps its meaning in text that
    already contains it, such as WikiText.
    """

    kind: ClassVar[str] = "words"

    def __init__(self, words: Sequence[str]) -> None:
        """words: the vocabulary without the special ids, the most frequent words first."""
        require_many(words, "words")
        self._words = list(words)
        self._ids = {word: number for number, word in enumerate(words, start=len(_SPECIAL))}
        self._ids[_SPECIAL[UNKNOWN]] = UNKNOWN
        self.source_vocab_size = self.target_vocab_size = len(_SPECIAL) + len(self._words)
        self.pad, self.unknown, self.start, self.end, self.shared = PAD, UNKNOWN, START, END, True

    @classmethod
    def learn(cls, lines: Iterable[str], *, vocab_size: int | None) -> Self:
        """Learns a vocabulary of all words of the lines, or of the most frequent ones for `vocab_size` ids.

        Raises UserError if the text has too few words.
        """
        require_many(lines, "lines")
        counts = Counter(word for line in lines for word in line.split())
        counts.pop(_SPECIAL[UNKNOWN], None)
        if not counts:
            raise InputError("the vocabulary cannot be learned: the text has no words.")
        most = len(counts) + len(_SPECIAL)
        if vocab_size is not None and vocab_size > most:
            raise ConfigError(
                f"tokenizer.vocab_size = {vocab_size}: the text has {len(counts):,} words, so at most {most} "
                "are of use. Lower it, or leave it out."
            )
        by_count = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(list(islice(by_count, None if vocab_size is None else vocab_size - len(_SPECIAL))))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; raises UserError if the file is missing or damaged."""
        try:
            words = read_bytes(folder / _FILE).decode().removesuffix("\n").split("\n")
        except (OSError, ValueError) as error:
            raise damaged(folder, error) from error
        if any(word.split() != [word] for word in words):
            raise damaged(folder, ValueError(f"{_FILE} has a line that is not one word"))
        return cls(words)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and words.txt, one word per line."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_bytes("".join(f"{word}\n" for word in self._words).encode("utf-8"))
        write_settings(folder, kind=self.kind, config={})

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, followed by the end symbol."""
        return [[*self.numbers(line.split()), END] for line in require_lines(lines, "lines")]

    encode_target = encode_source

    def numbers(self, words: Iterable[str]) -> list[int]:
        """The ids of words, which need not stand on a line."""
        return [self._ids.get(word, UNKNOWN) for word in words]

    def decode(self, ids: Sequence[int]) -> str:
        """The words with single spaces between them, without special ids except the unknown one."""
        return " ".join(self.source_pieces([i for i in ids if i not in (PAD, START, END)]))

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The words of ids."""
        return [_SPECIAL[i] if i < len(_SPECIAL) else self._words[i - len(_SPECIAL)] for i in map(int, ids)]

    target_pieces = source_pieces


class ByteTokenizer:
    """A tokeniser whose pieces are UTF-8 bytes: 256 ids and the special ones, with nothing to learn."""

    kind: ClassVar[str] = "bytes"

    def __init__(self) -> None:
        self.source_vocab_size = self.target_vocab_size = len(_SPECIAL) + 256
        self.pad, self.unknown, self.start, self.end, self.shared = PAD, UNKNOWN, START, END, True

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003 - as its siblings; there is nothing to read
        """Returns a tokeniser; all of this kind are the same."""
        return cls()

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json."""
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(folder, kind=self.kind, config={})

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, followed by the end symbol."""
        first = len(_SPECIAL)
        return [
            [*(first + byte for byte in without_surrogates(line).encode()), END]
            for line in require_lines(lines, "lines")
        ]

    encode_target = encode_source

    def decode(self, ids: Sequence[int]) -> str:
        """The text on one line; bytes that are not UTF-8 become U+FFFD."""
        spelled = bytes(i - len(_SPECIAL) for i in map(int, ids) if i >= len(_SPECIAL))
        return one_line(spelled.decode("utf-8", errors="replace"))

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        """The bytes of ids: printable ASCII characters as they are, other bytes as <0xE4>."""
        return [_byte_name(int(i)) for i in ids]

    target_pieces = source_pieces


def _byte_name(number: int) -> str:
    if number < len(_SPECIAL):
        return _SPECIAL[number]
    byte = number - len(_SPECIAL)
    return chr(byte) if 0x20 < byte < 0x7F else f"<0x{byte:02X}>"
