"""Batching: lines of different lengths as padded batches within a token budget.

Axes: (rows, length[, width]). A plan is a list of index arrays, one a batch, and a pure function of lengths,
seed and epoch, so that a run can be resumed in the middle of an epoch by counting batches.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.text.cache import EncodedColumn, EncodedLines

Lengths = NDArray[np.int32] | NDArray[np.int64]
Plan = list[NDArray[np.int64]]

# A batch may end early by the first share for less padding (Multi30k, 4,096 tokens: 2.8% instead of 3.2%),
# and ends early by up to the second share at random.
_SLACK, _RANDOM_SLACK = 0.1, 0.05


@dataclass(frozen=True)
class PaddedColumn:
    """One column of several lines, padded on the right to the longest of them.

    Ids and counts are int64; other numbers keep the type they are stored in.
    """

    values: Tensor
    """(rows, longest[, width])"""
    lengths: Tensor
    """(rows,) int64; an end symbol counts."""
    pad: float
    """Padding value."""
    positions: int
    """Sum of the lengths, known without synchronising with the device."""

    @property
    def real(self) -> Tensor:
        """Mask (rows, longest): True at positions that belong to the line, False at padding."""
        places = torch.arange(self.values.size(1), device=self.lengths.device)
        return places < self.lengths[:, None]

    def to(self, device: torch.device | str) -> "PaddedColumn":
        """The column on a device."""
        return replace(self, values=self.values.to(device), lengths=self.lengths.to(device))

    def without_end(self) -> tuple[Tensor, Tensor]:
        """Ids (rows, longest - 1) with padding instead of end symbols, and the mask of the real ids."""
        places = torch.arange(self.values.size(1) - 1, device=self.lengths.device)
        real = places < self.lengths[:, None] - 1
        return self.values[:, :-1].masked_fill(~real, self.pad), real

    def shifted(self, start: int) -> "PaddedColumn":
        """The decoder's input under teacher forcing: the start symbol, then all ids but the end symbol."""
        before = torch.full_like(self.values, int(self.pad))
        before[:, 1:] = self.values[:, :-1]
        before[:, :1] = start
        before.masked_fill_(~self.real, int(self.pad))  # the end symbol of shorter rows
        return replace(self, values=before)


@dataclass(frozen=True)
class Batch:
    """Several lines, as padded columns by name: `batch["source"].values`."""

    columns: Mapping[str, PaddedColumn]
    counted: str
    """Name of the column by whose number of positions the loss is divided."""

    @property
    def rows(self) -> int:
        """Number of lines."""
        return len(self[self.counted].lengths)

    @property
    def target_tokens(self) -> int:
        """Number of positions of the counted column, known without synchronising with the device."""
        return self[self.counted].positions

    def __getitem__(self, name: str) -> PaddedColumn:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; a copy from pinned memory does not block."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """The batch in page-locked memory, from which a copy to a CUDA device does not block."""
        return self._each(Tensor.pin_memory)

    def take(self, rows: slice | Sequence[int]) -> "Batch":
        """A batch with some of the rows, trimmed to the longest of them. Synchronises with the device."""
        device = self[self.counted].lengths.device
        index = rows if isinstance(rows, slice) else torch.as_tensor(rows, device=device, dtype=torch.int64)
        taken = {}
        for name, column in self.columns.items():
            lengths = column.lengths[index]
            longest = int(lengths.max()) if len(lengths) else 0
            values = column.values[index][:, :longest]
            taken[name] = replace(column, values=values, lengths=lengths, positions=int(lengths.sum()))
        return replace(self, columns=taken)

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        moved: dict[int, Tensor] = {}  # aligned columns share their lengths

        def once(tensor: Tensor) -> Tensor:
            if id(tensor) not in moved:
                moved[id(tensor)] = move(tensor)
            return moved[id(tensor)]

        columns = {
            name: replace(column, values=once(column.values), lengths=once(column.lengths))
            for name, column in self.columns.items()
        }
        return replace(self, columns=columns)


def collate(lines: EncodedLines, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, PaddedColumn]:
    """The padded columns of the lines at `indices`, in that order."""
    rows = np.asarray(indices, dtype=np.int64)
    places: dict[str, _Places] = {}
    columns = {}
    for name, column in lines.columns.items():
        owner = column.column.aligned_with or name
        if owner not in places:
            places[owner] = _places(column, rows)
        columns[name] = _padded(column, places[owner])
    return columns


def plan_batches(
    *sides: Lengths, batch_tokens: int, seed: int, epoch: int, max_rows: int | None = None
) -> Plan:
    """Plans an epoch: every line exactly once, in batches of similar length on all sides, in random order.

    sides: the lengths of the lines in the one or two columns that determine the size of a batch. Rows times
    the longest line of either side stay within `batch_tokens`, rows within `max_rows`; a line longer than
    the budget is alone in its batch. The choice among lines of equal length, the boundaries and the order of
    the batches depend on (seed, epoch) alone.
    """
    generator = np.random.default_rng((seed, epoch))
    shuffled = generator.permutation(len(sides[0]))
    order = shuffled[_two_sided_order(sides[0][shuffled], sides[-1][shuffled])]
    ordered = [side[order] for side in sides]
    batches = _cut(order, ordered, batch_tokens=batch_tokens, max_rows=max_rows, generator=generator)
    return [batches[i] for i in generator.permutation(len(batches))]


def plan_for_inference(
    lengths: Sequence[int] | Lengths, *, batch_tokens: int, max_rows: int | None = None
) -> Plan:
    """Plans inference: every sentence once, longest first, so that a lack of memory shows at once.

    Rows times the longest sentence stay within `batch_tokens`; a longer sentence is alone in its batch.
    """
    known = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-known, kind="stable")
    if len(order) == 1:
        return [order]
    return _cut(order, (known[order],), batch_tokens=batch_tokens, max_rows=max_rows)


def padding_share(plan: Plan, *sides: Lengths) -> float:
    """Share of padding in the cells of all batches of a plan, over all sides."""
    tokens = cells = 0
    for rows in plan:
        for lengths in sides:
            tokens += int(lengths[rows].sum())
            cells += int(lengths[rows].max()) * len(rows)
    return 1.0 - tokens / cells if cells else 0.0


def _two_sided_order(source_lengths: Lengths, target_lengths: Lengths) -> NDArray[np.int64]:
    """Indices sorted by the longer side, which determines how many pairs fit into a batch.

    Among equals they are sorted by the difference of the sides, alternately up and down, so that neighbours
    are similar on both sides even when the longer side changes. The sort is stable.
    """
    source, target = source_lengths.astype(np.int64), target_lengths.astype(np.int64)
    longest, difference = np.maximum(source, target), target - source
    present = np.zeros(int(longest.max(initial=0)) + 1, dtype=bool)
    present[longest] = True
    descending = (np.cumsum(present) % 2 == 0)[longest]
    span = 2 * len(present)
    key = longest * span + np.where(descending, -difference, difference)
    return np.argsort(key, kind="stable")


def _cut(
    order: NDArray[np.int64],
    sides: Sequence[Lengths],
    *,
    batch_tokens: int,
    max_rows: int | None,
    generator: np.random.Generator | None = None,
) -> Plan:
    """Cuts `order` into batches as full as the budget allows or, with a generator, a little less.

    sides: lengths of the pairs in `order`. See `_shorten`.
    """
    longest = np.maximum.reduce(sides)
    batches = []
    begin = 0
    while begin < len(order):
        limit = max(1, batch_tokens // max(1, int(longest[begin])))
        limit = limit if max_rows is None else min(limit, max_rows)
        window = [side[begin : begin + limit].astype(np.int64) for side in sides]
        rows = _rows_that_fit(window, batch_tokens)
        if generator is not None and begin + rows < len(order):
            rows = _shorten(window, rows, generator, anywhere=begin == 0)
        batches.append(order[begin : begin + rows])
        begin += rows
    return batches


def _shorten(
    window: Sequence[NDArray[np.int64]], rows: int, generator: np.random.Generator, *, anywhere: bool
) -> int:
    """The size of a batch that could have `rows`: any size for the first one (`anywhere`).

    For the others the upper limit is reduced by a random share, without which all epochs would end their
    batches at the same places; below it the size with the least padding is chosen.
    """
    if anywhere:
        return int(generator.integers(1, rows + 1))
    at_least = math.ceil(rows * (1 - _SLACK))
    at_most = max(at_least, math.floor(rows * (1 - _RANDOM_SLACK * generator.random())))
    return _least_padding(window, at_least=at_least, at_most=at_most)


def _rows_that_fit(window: Sequence[NDArray[np.int64]], batch_tokens: int) -> int:
    """The largest number of leading rows whose cells on either side stay within the budget, at least 1."""
    widths = np.maximum.accumulate(np.maximum.reduce(window))
    fits = widths * np.arange(1, len(widths) + 1) <= batch_tokens
    return len(fits) if fits.all() else max(1, int(np.argmin(fits)))


def _least_padding(window: Sequence[NDArray[np.int64]], *, at_least: int, at_most: int) -> int:
    """The number of leading rows with the smallest share of padding; the largest among equals."""
    rows = np.arange(1, at_most + 1)
    cells = rows * sum(np.maximum.accumulate(side[:at_most]) for side in window)
    tokens = sum(np.cumsum(side[:at_most]) for side in window)
    filled = (tokens / np.maximum(cells, 1))[at_least - 1 :]
    return at_most - int(np.argmax(filled[::-1]))


class _Places(NamedTuple):
    """The places of several lines in a column and in those aligned with it."""

    lengths: Tensor
    """(rows,)"""
    positions: int
    """Sum of the lengths."""
    real: NDArray[np.bool_]
    """(rows, longest)"""
    found: NDArray[np.int64]
    """(positions,) indices into the column's values, row by row."""


def _places(column: EncodedColumn, rows: NDArray[np.int64]) -> _Places:
    begins, lengths = column.offsets[rows], column.lengths[rows].astype(np.int64)
    places = np.arange(int(lengths.max(initial=0)))
    real = places < lengths[:, None]  # (rows, longest)
    found = (begins[:, None] + places)[real]
    return _Places(torch.from_numpy(lengths), len(found), real, found)


def _padded(column: EncodedColumn, places: _Places) -> PaddedColumn:
    declared = column.column
    shape = (*places.real.shape, *declared.shape)
    values = np.full(shape, declared.pad, dtype=declared.batch_dtype)  # (rows, longest[, width])
    values[places.real] = column.values[places.found]
    return PaddedColumn(torch.from_numpy(values), places.lengths, declared.pad, places.positions)
