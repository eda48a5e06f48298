"""The heads of a model that align: which of its attention a word alignment is read from.

They are in the file alignment.json of a model folder, which most folders do not have.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saccade.storage.digests import add_digest, read_digests
from saccade.storage.files import write_text
from saccade.storage.structured import read_object

ALIGNMENT = "alignment.json"
_KEYS = ("layer", "heads", "from")


@dataclass(frozen=True)
class AlignmentHeads:
    """Heads of one layer, whose weights are averaged.

    layer: among the layers with cross-attention, from 1 at the bottom; heads: from 1, each once; none: all
    heads of the layer. origin: how they were chosen, in words.
    """

    layer: int
    heads: tuple[int, ...]
    origin: str = "guided alignment"

    def __post_init__(self) -> None:
        if type(self.layer) is not int or self.layer < 1:
            raise ValueError("layer is not a whole number from 1 on")
        if any(type(head) is not int or head < 1 for head in self.heads):
            raise ValueError("heads are not whole numbers from 1 on")
        if len(set(self.heads)) < len(self.heads):
            raise ValueError("a head stands twice")
        if not isinstance(self.origin, str):
            raise ValueError("from is not text")

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The heads that `as_dict` described. Raises ValueError for a table that it cannot have returned."""
        unknown = sorted(set(table) ^ set(_KEYS))
        if unknown:
            raise ValueError(f"it must have the keys {', '.join(_KEYS)}, and {unknown[0][:40]} is wrong")
        if not isinstance(table["heads"], list):
            raise ValueError("heads are not a list")
        return cls(table["layer"], tuple(table["heads"]), table["from"])

    def as_dict(self) -> dict[str, Any]:
        """The content of alignment.json."""
        return {"layer": self.layer, "heads": list(self.heads), "from": self.origin}

    def __str__(self) -> str:
        if not self.heads:
            return f"layer {self.layer}, all heads"
        word = "head" if len(self.heads) == 1 else "heads"
        return f"layer {self.layer}, {word} {', '.join(map(str, self.heads))}"


def check_heads(chosen: AlignmentHeads, layers: list[int]) -> None:
    """Raises ValueError unless a model with these numbers of heads, layer by layer, has the chosen ones."""
    if chosen.layer > len(layers):
        raise ValueError(f"layer {chosen.layer} of {len(layers)} with cross-attention")
    if max(chosen.heads, default=0) > layers[chosen.layer - 1]:
        raise ValueError(f"head {max(chosen.heads)} of {layers[chosen.layer - 1]}")


def read_heads(folder: Path, *, advice: str) -> AlignmentHeads | None:
    """The heads in a model folder, or None if it names none. Raises ValueError or UserError if damaged."""
    path = folder / ALIGNMENT
    if not path.exists() and not path.is_symlink():
        return None
    return AlignmentHeads.of(read_object(path, advice=advice))


def store_heads(folder: Path, heads: AlignmentHeads) -> None:
    """Writes the heads into a model folder, in place of those that it named, and their digest.

    Raises UserError if the folder cannot be written.
    """
    has_digests = bool(read_digests(folder))
    write_text(folder / ALIGNMENT, json.dumps(heads.as_dict(), indent=2, ensure_ascii=False) + "\n")
    if has_digests:  # older folders have no digests
        add_digest(folder, ALIGNMENT)
