"""Shared parts of the tokenisers of imported models: a SentencePiece model, and a table of pieces and ids."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sentencepiece

from saccade.errors import NotFound, UserError
from saccade.machine import has_room_for_threads
from saccade.storage.structured import read_json
from saccade.text.lines import require_lines
from saccade.text.vocabulary import without_surrogates

_THREADS = 4  # the result does not depend on it


class Pieces:
    """A table of pieces and ids. Some ids may be unused (padding rows of the embedding matrix)."""

    def __init__(self, ids: Mapping[str, int], *, size: int, unknown: int) -> None:
        """Raises ValueError if an id is not below `size`."""
        if not ids or min(ids.values()) < 0 or max(ids.values()) >= size:
            raise ValueError(f"ids that are not below {size}, the size of the vocabulary")
        self.ids, self.size, self.unknown = dict(ids), size, unknown
        self._pieces = {number: piece for piece, number in ids.items()}

    def numbers(self, pieces: Iterable[str]) -> list[int]:
        """The ids of pieces."""
        return [self.ids.get(piece, self.unknown) for piece in pieces]

    def names(self, numbers: Iterable[int]) -> list[str]:
        """The pieces of ids; that of an unused id is empty."""
        return [self._pieces.get(int(number), "") for number in numbers]


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """The processor of a serialised model; raises ValueError or RuntimeError if it is not valid."""
    if not model:  # SentencePiece would take it
        raise ValueError("an empty SentencePiece model")
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def cut(model: sentencepiece.SentencePieceProcessor, lines: Sequence[str]) -> list[list[str]]:
    """The pieces of each line, as text; characters outside the model's own vocabulary are kept."""
    texts = [without_surrogates(line) for line in require_lines(lines, "lines")]
    threads = _THREADS if has_room_for_threads(_THREADS) else 1
    pieces: list[list[str]] = model.encode(texts, out_type=str, num_threads=threads)
    return pieces


def check_ids(size: int, ids: Mapping[str, int]) -> None:
    """Raises ValueError, naming the first one, if an id is not below `size`, the number of ids."""
    for name, number in ids.items():
        if not 0 <= number < size:
            raise ValueError(f"{name} {number} is not below {size}, the size of the vocabulary")


def one_line(text: str) -> str:
    """The text with line breaks replaced by spaces, because a translation is one line."""
    return text.replace("\n", " ").replace("\r", " ")


def read_table(path: Path) -> dict[str, int]:
    """Reads a JSON object of pieces and ids; raises OSError or ValueError."""
    table = read_json(path)
    if not isinstance(table, dict) or not all(type(number) is int for number in table.values()):
        raise ValueError(f"{path.name} is no table of pieces and ids")
    return table


def write_table(path: Path, table: Mapping[str, int]) -> None:
    """Writes what `read_table` reads."""
    text = json.dumps(table, ensure_ascii=False, indent=0, separators=(",", ": "))
    path.write_text(text + "\n", encoding="utf-8")


def no_such_language(name: str, known: Iterable[str]) -> UserError:
    """The error for a language that a model does not know; the message names similar ones, or all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    near += [one for one in names if one not in near and one[:2] == name[:2].lower()][:5]
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(names)}."
    return NotFound(f"{name}: this model does not know the language; {hint}")
