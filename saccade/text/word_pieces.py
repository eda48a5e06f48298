"""The words that pieces belong to, for any tokeniser. Words are what white space separates."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from saccade.text.tokenizer import Tokenizer

Side = Literal["source", "target"]

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark
_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()
_Encode = Callable[[Sequence[str]], list[list[int]]]


def word_numbers(
    tokenizer: Tokenizer, lines: Sequence[str], ids: Sequence[Sequence[int]], *, side: Side
) -> list[list[int]]:
    """For each line the number of the word of each id, from 0; -1 for special symbols.

    ids: those that the tokeniser cut the lines of this side into, in any segmentation, with the end symbol. A
    piece that touches several words counts for the first one, and a blank of its own for the word behind it.
    If the words of a line cannot be found from its pieces, none of its pieces has a word.
    """
    encode = tokenizer.encode_source if side == "source" else tokenizer.encode_target
    pieces = tokenizer.source_pieces if side == "source" else tokenizer.target_pieces
    [frame] = encode([""])
    found = []
    for line, own in zip(lines, ids, strict=True):
        first, last = _inner(own, frame)
        body = list(own[first:last])
        surfaces = [
            _UNKNOWN if number == tokenizer.unknown else _surface(piece)
            for number, piece in zip(body, pieces(body), strict=True)
        ]
        numbers = _by_text(line, surfaces) or _word_by_word(line, body, encode, frame)
        found.append([-1] * first + (numbers or [-1] * len(body)) + [-1] * (len(own) - last))
    return found


def _inner(ids: Sequence[int], frame: Sequence[int]) -> tuple[int, int]:
    """Where the pieces of a line begin and end; `frame`: the special symbols that surround an empty line."""
    before = _shared(ids, frame[:-1])
    behind = _shared(ids[before:][::-1], frame[before:][::-1])
    return before, len(ids) - behind


def _shared(ids: Sequence[int], others: Sequence[int]) -> int:
    """The number of leading ids that are equal."""
    count = 0
    while count < min(len(ids), len(others)) and ids[count] == others[count]:
        count += 1
    return count


def _surface(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1]) if byte else piece.replace(_SPACE, " ").encode("utf-8", "replace")


def _by_text(line: str, surfaces: Sequence[bytes]) -> list[int] | None:
    """The words of pieces from the text that they spell; None if that has another number of words."""
    try:
        text = b"".join(surfaces).decode()
    except UnicodeDecodeError:
        return None
    words = text.split()
    if len(words) != len(line.split()):
        return None
    places: list[int] = []  # of each byte, -1 for white space
    rest = text
    for number, word in enumerate(words):
        before, _, rest = rest.partition(word)
        places += [-1] * len(before.encode()) + [number] * len(word.encode())
    places += [-1] * len(rest.encode())
    numbers, end = [], 0
    for surface in surfaces:
        begin, end = end, end + len(surface)
        numbers.append(next((number for number in places[begin:end] if number >= 0), -1))
    following = -1
    for place in range(len(numbers) - 1, -1, -1):
        if numbers[place] < 0:
            numbers[place] = following
        following = numbers[place]
    return numbers


def _word_by_word(line: str, body: list[int], encode: _Encode, frame: list[int]) -> list[int] | None:
    """The words of pieces from the pieces of each word; None if the line is cut in another way.

    This serves tokenisers whose unknown piece swallows a word together with the blank before it, and those
    whose normalisation separates what is one word.
    """
    words = line.split()
    parts = []
    for own in encode(words):
        first, last = _inner(own, frame)
        parts.append(own[first:last])
    if [number for part in parts for number in part] != body:
        return None
    return [number for number, part in enumerate(parts) for _ in part]
