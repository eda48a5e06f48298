"""Polygons given by their corners: which are the same, which are valid, and their areas."""

from collections.abc import Sequence
from itertools import combinations

Point = Sequence[float]


def same_round(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether two answers visit the same inputs in the same order, wherever they start.

    A last position that is the first one again closes the round and counts once.
    """
    one, other = _open(first), _open(second)
    if len(one) != len(other):
        return False
    return any(one == other[start:] + other[:start] for start in range(max(len(other), 1)))


def _open(positions: Sequence[int]) -> list[int]:
    closed = len(positions) > 1 and positions[0] == positions[-1]
    return list(positions[:-1] if closed else positions)


def corners(points: Sequence[Point], positions: Sequence[int]) -> list[Point]:
    """The points at positions, counted from 1, each once at the ends of a closed round."""
    return [points[position - 1] for position in _open(positions)]


def area(polygon: Sequence[Point]) -> float:
    """The signed area of a simple polygon by the shoelace formula: positive if it is counter-clockwise."""
    following = [*polygon[1:], *polygon[:1]]
    return sum(x * v - u * y for (x, y), (u, v) in zip(polygon, following, strict=True)) / 2


def is_simple(polygon: Sequence[Point]) -> bool:
    """Whether there are three corners or more, all different, and no two sides meet except at a corner."""
    count = len(polygon)
    if count < 3 or len({tuple(point) for point in polygon}) < count:
        return False
    sides = [(polygon[number], polygon[(number + 1) % count]) for number in range(count)]
    for (n, first), (m, second) in combinations(enumerate(sides), 2):
        if m == n + 1 or (n == 0 and m == count - 1):
            if _folds_back(first, second) if m == n + 1 else _folds_back(second, first):
                return False
        elif _meet(*first, *second):
            return False
    return True


def _turn(a: Point, b: Point, c: Point) -> float:
    """Twice the signed area of a triangle: positive if it is counter-clockwise, 0 if it is flat."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _within(a: Point, b: Point, c: Point) -> bool:
    """Whether c, on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _folds_back(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether the second side, which begins where the first one ends, runs back along it."""
    (a, b), (_, c) = first, second
    along = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
    return _turn(a, b, c) == 0 and along < 0


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the side from a to b and that from c to d have a point in common."""
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    flat = ((turns[0], a, b, c), (turns[1], a, b, d), (turns[2], c, d, a), (turns[3], c, d, b))
    return any(turn == 0 and _within(p, q, r) for turn, p, q, r in flat)
