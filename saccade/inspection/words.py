"""The words that the pieces of a line belong to, so that a map of pieces can be read as a map of words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import category, name

from saccade.text.m2m import ManyLanguagesTokenizer
from saccade.text.tokenizer import Tokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPECIAL = re.compile(r"<[^<>]*>|__\w+__|[a-z]{3}_[A-Z][a-z]{3}|>>\w+<<")  # symbols and language codes
_ALONE = ("CJK", "HIRAGANA", "KATAKANA")  # scripts without spaces: every piece counts as a word


@dataclass(frozen=True)
class Tokens:
    """The tokens along an axis of a map.

    pieces: as the model sees them; numbers: the number of each piece's word, from 0; words: the text of each
    word.
    """

    pieces: tuple[str, ...]
    numbers: tuple[int, ...]
    words: tuple[str, ...]


def tokens_of(tokenizer: Tokenizer, pieces: Sequence[str]) -> Tokens:
    """Joins pieces to words.

    A word ends before a space and before or behind a special symbol; a punctuation mark at its end is a word.
    """
    if isinstance(tokenizer, WordTokenizer):
        begins = [True] * len(pieces)
    elif isinstance(tokenizer, ByteTokenizer):
        begins = [_begins_bytes(pieces, place) for place in range(len(pieces))]
    else:
        begins = [_begins(pieces, place) for place in range(len(pieces))]
    for place in _languages(tokenizer, pieces):
        begins[place : place + 2] = [True] * len(begins[place : place + 2])
    numbers, number = [], -1
    for first in begins:
        number += first or number < 0
        numbers.append(number)
    groups: list[list[str]] = [[] for _ in range(number + 1)]
    for piece, place in zip(pieces, numbers, strict=True):
        groups[place].append(piece)
    return Tokens(tuple(pieces), tuple(numbers), tuple(map(_spelled, groups)))


def _languages(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[int]:
    """The places of the tokens of languages: behind the start symbol, first, or last."""
    if not isinstance(tokenizer, ManyLanguagesTokenizer):
        return []
    places = {0, 1, len(pieces) - 1} & set(range(len(pieces)))
    return sorted(place for place in places if pieces[place] in tokenizer.config.languages)


def _begins_bytes(pieces: Sequence[str], place: int) -> bool:
    before = pieces[place - 1] if place else "<0x20>"
    return before == "<0x20>" or _special(pieces[place]) or _special(before)


def _begins(pieces: Sequence[str], place: int) -> bool:
    piece = pieces[place]
    if place == 0 or piece.startswith(_SPACE) or _special(piece):
        return True
    before = pieces[place - 1]
    if _special(before):
        return True
    if before == _SPACE:  # a space of its own belongs to what follows
        return False
    return _alone(piece) or _alone(before) or _closes(pieces, place)


def _closes(pieces: Sequence[str], place: int) -> bool:
    """Whether a piece is punctuation that nothing but a space, a symbol or punctuation follows."""
    if not _punctuation(pieces[place]):
        return False
    following = pieces[place + 1] if place + 1 < len(pieces) else _SPACE
    return following.startswith(_SPACE) or _special(following) or _punctuation(following)


def _punctuation(piece: str) -> bool:
    return bool(piece) and all(category(character).startswith("P") for character in piece)


def _special(piece: str) -> bool:
    return _SPECIAL.fullmatch(piece) is not None and _BYTE.fullmatch(piece) is None


def _alone(piece: str) -> bool:
    return any(name(character, "").startswith(_ALONE) for character in piece.removeprefix(_SPACE)[:1])


def _spelled(pieces: Sequence[str]) -> str:
    """The text of a word: bytes become characters and marks of spaces vanish."""
    spelled = b"".join(
        bytes.fromhex(byte[1]) if (byte := _BYTE.fullmatch(piece)) else piece.encode("utf-8", "replace")
        for piece in pieces
    )
    text = spelled.decode("utf-8", "replace").replace(_SPACE, " ").strip()
    return text or "\N{OPEN BOX}"
