"""Batches of a few shapes: lines are padded to one of some lengths that are chosen from the text.

A GPU wants few shapes: each new one costs the time to plan, or to compile, the work on it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.text.batching import Lengths

MOST_SHAPES = 32
"""Number of shapes of a large text. WMT-like lengths then have about 10% padding, both sides together."""

_GRAIN = 4  # lengths are multiples of this; rows, of 8, so that products have sizes that suit a GPU
_GROWTH = 8  # and the steps between lengths are at most about an eighth of them
_ROWS = 8
_BATCHES_A_SHAPE = (
    8  # at least, on average: rows that are left over at the end of an epoch go to larger shapes
)


class Shape(NamedTuple):
    """The shape of a batch: number of rows, and the length of each side."""

    rows: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """Shapes within a budget of tokens, the smaller ones first; a function of the text alone.

    lengths: of each shape, on each side. batch_tokens: limit of rows times the longest side.
    """

    lengths: tuple[tuple[int, ...], ...]
    batch_tokens: int

    @classmethod
    def of(cls, *sides: Lengths, batch_tokens: int, most: int = MOST_SHAPES) -> "Shapes":
        """At most `most` shapes that fit all lines, with little padding.

        sides: the lengths of the lines in each column. Lines of similar lengths form groups; those two groups
        are joined whose union needs the least additional padding, until few are left.
        """
        rounded = np.stack([_rounded(side) for side in sides], 1)  # (lines, sides)
        span = int(rounded.max(initial=0)) + 1
        keys, counts = np.unique(rounded @ span ** np.arange(len(sides)), return_counts=True)
        corners = keys[:, None] // span ** np.arange(len(sides)) % span
        batches = int(rounded.max(1, initial=0).sum()) // batch_tokens
        wanted = min(most, max(1, batches // _BATCHES_A_SHAPE))
        corners = _joined(corners, counts.astype(np.float64), wanted)
        order = np.lexsort((corners.sum(1), corners.max(1)))
        return cls(tuple(tuple(map(int, corners[place])) for place in order), batch_tokens)

    def shape(self, lengths: Sequence[int]) -> Shape:
        """The shape of batches of these lengths; a line longer than the budget has a batch of its own."""
        rows = max(1, self.batch_tokens // max(lengths))
        return Shape(rows - rows % _ROWS if rows > _ROWS else rows, tuple(lengths))

    def plan(self, *sides: Lengths, seed: int, epoch: int) -> "list[tuple[NDArray[np.int64], Shape]]":
        """Plans an epoch: every line exactly once, in batches of these shapes, in random order.

        What does not fill a batch goes to a larger shape; a batch has fewer lines than rows if there is none.
        The plan depends on (seed, epoch) alone. Lines that fit no shape, which a text segmented at random may
        have, form one more.
        """
        generator = np.random.default_rng((seed, epoch))
        known = np.stack([np.asarray(side, dtype=np.int64) for side in sides], 1)
        order = generator.permutation(len(known))
        found = self._fitting(known)[order]
        every = [*self.lengths]
        if (found == len(every)).any():
            longest = known[order[found == len(every)]].max(0)
            every.append(tuple(int(length) for length in _rounded(longest)))
        pools = [order[found == number] for number in range(len(every))]
        plan: list[tuple[NDArray[np.int64], Shape]] = []
        for number, lengths in enumerate(every):
            shape, lines = self.shape(lengths), pools[number]
            full = len(lines) // shape.rows * shape.rows
            plan += [(batch, shape) for batch in lines[:full].reshape(-1, shape.rows)]
            rest = lines[full:]
            larger = [place for place in range(number + 1, len(every)) if _covers(every[place], lengths)]
            if not len(rest):
                continue
            if larger:
                pools[larger[0]] = np.concatenate([pools[larger[0]], rest])
            else:
                plan.append((rest, shape))
        return [plan[place] for place in generator.permutation(len(plan))]

    def _fitting(self, known: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cheapest shape that fits each line (lines,); the number of shapes if none does."""
        corners = np.array(self.lengths)
        steps = [np.unique(corners[:, side]) for side in range(corners.shape[1])]
        # What fits a line depends on the next longer length of a shape on each side alone.
        cells = tuple(np.searchsorted(step, known[:, side]) for side, step in enumerate(steps))
        table = np.full([len(step) + 1 for step in steps], len(corners))
        for place in sorted(range(len(corners)), key=lambda one: -int(corners[one].sum())):
            ends = (np.searchsorted(step, corners[place, side]) for side, step in enumerate(steps))
            table[tuple(slice(int(end) + 1) for end in ends)] = place
        found: NDArray[np.int64] = table[cells]
        return found


def _covers(one: Sequence[int], other: Sequence[int]) -> bool:
    return all(long >= short for long, short in zip(one, other, strict=True))


def _rounded(lengths: Lengths) -> NDArray[np.int64]:
    """Lengths rounded up to one of a ladder, whose steps grow with them."""
    known = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
    length = 0
    rungs: list[int] = []
    while not rungs or rungs[-1] < int(known.max(initial=1)):
        step = _GRAIN * max(1, 2 ** max(0, math.floor(math.log2(max(length, 1) / (_GRAIN * _GROWTH)))))
        length += step
        rungs.append(length)
    ladder = np.array(rungs)
    found: NDArray[np.int64] = ladder[np.searchsorted(ladder, known)]
    return found


def _joined(corners: NDArray[np.int64], counts: NDArray[np.float64], wanted: int) -> NDArray[np.int64]:
    """Joins groups of lines, the cheapest pair first, until `wanted` are left.

    corners (groups, sides): the length of each side; counts (groups,): number of lines.
    """
    corners, counts, left = corners.copy(), counts.copy(), len(corners)
    costs = np.full((left, left), np.inf)
    for group in range(left):
        costs[group, :group] = _costs(group, corners, counts)[:group]
    while left > wanted:
        one, other = divmod(int(costs.argmin()), len(corners))
        corners[one] = np.maximum(corners[one], corners[other])
        counts[one], counts[other] = counts[one] + counts[other], 0
        costs[other], costs[:, other] = np.inf, np.inf
        own = np.where(counts > 0, _costs(one, corners, counts), np.inf)
        costs[one, :one], costs[one + 1 :, one] = own[:one], own[one + 1 :]
        left -= 1
    return corners[counts > 0]


def _costs(group: int, corners: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The additional padding if a group were joined with each other one (groups,)."""
    union, size = np.maximum(corners, corners[group]).sum(1), corners.sum(1)
    found: NDArray[np.float64] = counts * (union - size) + counts[group] * (union - size[group])
    return found


def padding(plan: "Sequence[tuple[NDArray[np.int64], Shape]]", *sides: Lengths) -> float:
    """Share of padding in the cells of all batches of a plan, over all sides."""
    tokens = cells = 0
    for lines, shape in plan:
        tokens += sum(int(side[lines].sum()) for side in sides)
        cells += shape.rows * sum(shape.lengths)
    return 1.0 - tokens / cells if cells else 0.0
