"""The lengths of the text that a model was trained on, as its folder records them, and what follows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

FLOOR, FACTOR = 1024, 4
"""By default, lines of FACTOR times the longest training line are translated, and those of FLOOR pieces."""
_MOST = 1_000_000  # a damaged folder does not lift the limit
_FAR = 2
"""A line is far longer than training if it has more than this many times the longest training line."""


@dataclass(frozen=True)
class SeenLengths:
    """Numbers of pieces of training lines, end symbols included: the longest and the mean of each side."""

    source: int
    target: int
    source_mean: float
    target_mean: float

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "SeenLengths | None":
        """What a model folder's provenance says; None if it says nothing usable, as in older folders."""
        try:
            seen = _ADAPTER.validate_python(provenance.get("lengths"))
        except ValidationError:
            return None
        return seen if max(asdict(seen).values()) <= _MOST and min(asdict(seen).values()) >= 1 else None

    def as_dict(self) -> dict[str, float]:
        """The numbers in JSON types."""
        return asdict(self)

    @property
    def longest(self) -> int:
        """The longest line of either side."""
        return max(self.source, self.target)

    @property
    def ratio(self) -> float:
        """Target pieces for each source piece."""
        return self.target_mean / self.source_mean

    def far_exceeded(self, length: int) -> bool:
        """Whether a source of this length is far longer than those of the training text."""
        return length > _FAR * self.source


def default_limit(seen: SeenLengths | None) -> int:
    """The greatest length, end symbol included, of lines that are translated if no other limit is set."""
    return FLOOR if seen is None else max(FLOOR, FACTOR * seen.longest)


_ADAPTER = TypeAdapter(SeenLengths)
