"""The tables of pieces and ids in published folders, checked against each other."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saccade.errors import Unsupported
from saccade.interop.published import optional_object
from saccade.text.imported import read_table

_LISTS = ("tokenizer_config.json", "tokenizer.json")
"""The files that list added tokens with their ids, besides added_tokens.json."""


def read_pieces(path: Path) -> dict[str, int]:
    """Reads a table of pieces and ids; raises OSError, or ValueError if an id has several pieces."""
    table = read_table(path)
    if len(set(table.values())) < len(table):
        raise ValueError("an id has several pieces")
    return table


def require_ids(path: Path, table: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Raises UserError if a special piece of the table has another id than the model's, or none.

    Padding may be missing from a table, but its id may not belong to another piece.
    """
    for piece, number in expected.items():
        found = table.get(piece)
        if found is None and piece == "<pad>" and number not in table.values():
            continue
        if found != number:
            state = "missing" if found is None else f"number {found}"
            raise Unsupported(f"{path}: {piece} is {state}; number {number} was expected.")


def require_added(folder: Path, known: Mapping[str, int]) -> None:
    """Raises UserError for a token that was added to the vocabulary and is not `known` with that id.

    Raises ValueError as `added_tokens` does.
    Where text spells such a token, transformers cuts it as a whole; here it is text.
    """
    for name, number, path in added_tokens(folder):
        if known.get(name, None if name != "<mask>" else number) != number:
            raise Unsupported(
                f"{path}: the added token {name[:40]!r} with number {number}; only languages and the special "
                "pieces of the vocabulary are expected."
            )


def added_tokens(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Yields name, id and file of each added token that a folder lists with its id.

    Raises ValueError for a list that has another form.
    """
    path = folder / "added_tokens.json"
    yield from ((name, _number(number, path), path) for name, number in optional_object(path).items())
    settings, fast = (folder / name for name in _LISTS)
    decoder = optional_object(settings).get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise ValueError(f"{settings.name}: added_tokens_decoder is no table")
    for number, token in decoder.items():
        yield _content(token, settings), _number(number, settings), settings
    listed = optional_object(fast).get("added_tokens") or []
    if not isinstance(listed, list):
        raise ValueError(f"{fast.name}: added_tokens is no list")
    for token in listed:
        yield _content(token, fast), _number(token.get("id"), fast), fast


def _content(token: Any, path: Path) -> str:
    content = token.get("content") if isinstance(token, dict) else None
    if not isinstance(content, str):
        raise ValueError(f"{path.name}: an added token has no content")
    return content


def _number(value: Any, path: Path) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    if type(value) is not int or value < 0:
        raise ValueError(f"{path.name}: an added token has no id")
    return value
