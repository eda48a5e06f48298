"""Scores of answers that are positions: exact ones by number of inputs, and polygons of points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.errors import InputError
from saccade.inspection.pointed import draw_exactness
from saccade.use.polygons import area, corners, is_simple, same_round


@dataclass(frozen=True)
class Polygons:
    """How well answers agree with polygons of the file.

    same: number of answers with the same corners in the same order, whatever the start; invalid: of those
    that are no simple polygon; covered: mean area of the valid ones, as a share of the area in the file, None
    if there is none.
    """

    same: int
    invalid: int
    covered: float | None


@dataclass(frozen=True)
class PointedScores:
    """How well answers agree with those of a file.

    by_length: for each number of inputs, the number of lines and that of exact answers. polygons: only for
    points of a plane whose answers in the file are simple polygons.
    """

    by_length: dict[int, tuple[int, int]]
    polygons: Polygons | None = None

    @classmethod
    def of(
        cls, pairs: Iterable[tuple[Sequence[Sequence[float]], Sequence[int], Sequence[int]]]
    ) -> "PointedScores":
        """The scores of triples (inputs, right answer, found answer). Raises UserError if there are none."""
        every = list(pairs)
        if not every:
            raise InputError("the file is empty: there is nothing to score.")
        found: dict[int, tuple[int, int]] = {}
        for inputs, gold, answer in every:
            lines, exact = found.get(len(inputs), (0, 0))
            found[len(inputs)] = lines + 1, exact + (list(gold) == list(answer))
        return cls(dict(sorted(found.items())), _polygons(every))

    @property
    def count(self) -> int:
        """Number of answers that were compared."""
        return sum(lines for lines, _ in self.by_length.values())

    @property
    def exact(self) -> float:
        """Share of answers that are right from beginning to end."""
        return sum(exact for _, exact in self.by_length.values()) / self.count

    def lines(self) -> list[str]:
        """Human-readable summary lines."""
        lines = [f"exact    {self.exact:.2%}  of {self.count:,}"]
        if (found := self.polygons) is not None:
            lines.append(f"polygon  {found.same / self.count:.2%}  whatever the start")
            covered = "-" if found.covered is None else f"{found.covered:.2%}"
            lines.append(f"area     {covered}  covered by valid answers; {found.invalid:,} are invalid")
        if len(self.by_length) > 1:
            lines.append("inputs    exact   count")
            lines += [
                f"{length:6,}  {exact / count:6.2%}  {count:6,}"
                for length, (count, exact) in self.by_length.items()
            ]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        found = self.polygons
        return {
            "exact": self.exact,
            "count": self.count,
            "by_length": [
                {"inputs": length, "count": count, "exact": exact / count}
                for length, (count, exact) in self.by_length.items()
            ],
            "polygon": None if found is None else found.same / self.count,
            "area": None if found is None else found.covered,
            "invalid": None if found is None else found.invalid,
        }

    def draw(self, out: Path) -> None:
        """Draws the share of exact answers against the number of inputs; see `draw_exactness`."""
        shares = {length: exact / count for length, (count, exact) in self.by_length.items()}
        draw_exactness({"": shares}, out=out)


def _polygons(
    every: Sequence[tuple[Sequence[Sequence[float]], Sequence[int], Sequence[int]]],
) -> Polygons | None:
    """The scores of polygons; None if an answer of the file is none."""
    same, invalid, shares = 0, 0, []
    for points, gold, answer in every:
        if any(len(point) != 2 for point in points):
            return None
        right = corners(points, gold)
        if not is_simple(right):
            return None
        same += same_round(gold, answer)
        said = corners(points, answer)
        if is_simple(said):
            shares.append(abs(area(said)) / abs(area(right)))
        else:
            invalid += 1
    return Polygons(same, invalid, sum(shares) / len(shares) if shares else None)
