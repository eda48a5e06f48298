"""model.json: what a model folder says of itself, checked before anything else is read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from saccade.errors import DamagedFile, UserError
from saccade.models.interface import Vocabulary
from saccade.storage.structured import read_object

FORMAT = 3
"""Format number, which increases when older versions of Saccade can no longer read a folder correctly. 2:
weights in int8; 3: the encoder is a module of its own, so that parameters are renamed (`models.renamed`)."""
DESCRIPTION = "model.json"
LARGEST_VOCABULARY = 1 << 24
"""Largest number of ids."""

_ADVICE = "Copy the model folder again, or use another checkpoint."


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file of a model folder that cannot be used."""
    lines = "; ".join(line.rstrip(".") for line in reason.splitlines())
    return DamagedFile(f"{path}: damaged: {lines}. {_ADVICE}")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; raises UserError if it is missing or damaged."""
    return read_object(path, advice=_ADVICE)


def read_description(folder: Path) -> dict[str, Any]:
    """Reads model.json of a model folder (see `checkpoint.find_model`); raises UserError if it is not valid.

    The types of all entries are checked, except for those of `model` and `decoding`, which are sections.
    """
    path = folder / DESCRIPTION
    description = read_json(path)
    version = description.get("format")
    if type(version) is not int or version < 1 or not isinstance(description.get("model"), dict):
        raise DamagedFile(f"{path}: not written by Saccade: it has no format number.", topic="no-model")
    if version > FORMAT:
        raise DamagedFile(
            f"{path}: format {version} is newer than this Saccade reads ({FORMAT}). Install a newer Saccade."
        )
    description.setdefault("tokenizer", {})  # the oldest folders have no digests
    try:
        check_entries(description)
        if description.setdefault("precision", "float32") not in ("float32", "int8"):
            raise ValueError("precision is neither float32 nor int8")
    except ValueError as error:
        raise damaged(path, str(error)) from error
    return description


def check_entries(description: Mapping[str, Any]) -> None:
    """Checks the types of the tables that model folders and exported folders have; raises ValueError."""
    for name in ("vocabulary", "tokenizer", "decoding", "provenance"):
        if not isinstance(description.get(name), dict):
            raise ValueError(f"it has no {name}")
    for name, digest in description["tokenizer"].items():
        if not isinstance(digest, str) or Path(name).name != name:
            raise ValueError(f"tokenizer.{name[:40]} is not the digest of a file")
    for name, value in description["provenance"].items():
        fits, wanted = _PROVENANCE.get(name, (_anything, ""))
        if not fits(value):
            raise ValueError(f"provenance.{name} is not {wanted}")


def read_vocabulary(table: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a table in model.json or export.json; raises ValueError for an id out of range."""
    try:
        vocabulary = Vocabulary(**table)
    except TypeError as error:
        raise ValueError(f"vocabulary: {error}") from error
    numbers = {name: value for name, value in vars(vocabulary).items() if name != "shared"}
    for name, value in numbers.items():
        if type(value) is not int or not 0 <= value <= LARGEST_VOCABULARY:
            raise ValueError(f"vocabulary.{name} is not a whole number up to {LARGEST_VOCABULARY:,}")
    if type(vocabulary.shared) is not bool:
        raise ValueError("vocabulary.shared is neither true nor false")
    if vocabulary.shared and vocabulary.source_size != vocabulary.target_size:
        raise ValueError("vocabulary: sizes that differ, although it is shared")
    smaller = min(vocabulary.source_size, vocabulary.target_size)
    for name, size in (("pad", smaller), ("end", smaller), ("start", vocabulary.target_size)):
        if numbers[name] >= size:
            raise ValueError(f"vocabulary.{name} = {numbers[name]} is not below {size}, the number of ids")
    return vocabulary


def check_banned(decoding: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    """Checks the ids in a table `decoding`; raises ValueError for one that the vocabulary does not have."""
    banned = decoding.get("banned", [])
    if not isinstance(banned, list) or not all(type(token) is int for token in banned):
        raise ValueError("decoding.banned is not a list of ids")
    if banned and not 0 <= min(banned) <= max(banned) < vocabulary.target_size:
        raise ValueError(f"decoding.banned has ids that are not below {vocabulary.target_size}")


def _anything(_: object) -> bool:
    return True


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return value in ("inf", "-inf", "nan") or type(value) in (int, float)


def _table(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


_PROVENANCE: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(
        ("seed", "pairs", "tokens", "step", "epoch", "target_tokens"), (_count, "a whole number")
    ),
    **dict.fromkeys(("init_from", "teacher", "encoder_from", "imported"), (_text, "text")),
    **dict.fromkeys(("data", "files", "languages", "versions"), (_table(_text), "a table of texts")),
    "validation": (_table(_number), "a table of numbers"),
}
