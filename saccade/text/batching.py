"""Pairs of different length as padded batches of a token budget.

Axes: (rows, length). A plan is a list of index arrays, one a batch, and a pure function of lengths, seed
and epoch, so that a run can be resumed in the middle of an epoch by counting batches.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.text.cache import EncodedPairs, Side

Lengths = NDArray[np.int32] | NDArray[np.int64]
Plan = list[NDArray[np.int64]]

# A batch may end this share early for less padding (Multi30k, 4,096 tokens: 2.8% instead of 3.2%), and
# ends up to this share early at random.
_SLACK, _RANDOM_SLACK = 0.1, 0.05


@dataclass(frozen=True)
class Batch:
    """Padded pairs. Ids and lengths are int64; lengths count the end symbol."""

    source: Tensor
    """(rows, source length) pieces and the end symbol."""
    source_lengths: Tensor
    """(rows,)"""
    target_in: Tensor
    """(rows, target length) start symbol and pieces: what the decoder reads."""
    gold: Tensor
    """(rows, target length) pieces and the end symbol: what it should say."""
    target_lengths: Tensor
    """(rows,)"""
    pad: int
    """Id that fills up the rows of all three."""
    target_tokens: int
    """Sum of target_lengths, known without asking the device."""
    fertilities: Tensor | None = None
    """(rows, source length) target pieces of each source piece, 0 for end symbol and padding; where the text
    has them."""

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return self.source.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; from pinned memory without waiting for the copy."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """The batch in page-locked memory, from which a copy to a CUDA device does not block."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        fields = ("source", "source_lengths", "target_in", "gold", "target_lengths", "fertilities")
        tensors = {name: getattr(self, name) for name in fields}
        moved: dict[str, Any] = {name: move(tensor) for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **moved)

    def without_end(self) -> tuple[Tensor, Tensor]:
        """Target ids (rows, longest) without end symbols, padding in their place, and which are real."""
        places = torch.arange(self.gold.size(1) - 1, device=self.gold.device)
        real = places < self.target_lengths[:, None] - 1
        return self.gold[:, :-1].masked_fill(~real, self.pad), real

    def take(self, rows: slice | Sequence[int]) -> "Batch":
        """Some of the rows, trimmed to the longest of them. Waits for the device that the batch is on."""
        index = (
            rows
            if isinstance(rows, slice)
            else torch.as_tensor(rows, device=self.source.device, dtype=torch.int64)
        )
        source_lengths, target_lengths = self.source_lengths[index], self.target_lengths[index]
        source_width = int(source_lengths.max()) if len(source_lengths) else 0
        target_width = int(target_lengths.max()) if len(target_lengths) else 0
        return Batch(
            source=self.source[index][:, :source_width],
            source_lengths=source_lengths,
            target_in=self.target_in[index][:, :target_width],
            gold=self.gold[index][:, :target_width],
            target_lengths=target_lengths,
            pad=self.pad,
            target_tokens=int(target_lengths.sum()),
            fertilities=None if self.fertilities is None else self.fertilities[index][:, :source_width],
        )


def collate(
    pairs: EncodedPairs, indices: Sequence[int] | NDArray[np.int64], *, pad: int, start: int
) -> Batch:
    """The pairs at `indices`, in that order, as one batch."""
    rows = np.asarray(indices, dtype=np.int64)
    source, source_lengths = _padded(pairs.source_side, rows, pad=pad)
    gold, target_lengths = _padded(pairs.target_side, rows, pad=pad)
    target_in = np.full_like(gold, pad)
    target_in[:, 1:] = gold[:, :-1]
    target_in[:, :1] = start
    target_in[np.arange(gold.shape[1]) >= target_lengths[:, None]] = pad  # the end symbol of shorter rows
    fertilities = None
    if pairs.fertility_side is not None:
        fertilities = torch.from_numpy(_padded(pairs.fertility_side, rows, pad=0)[0])
    return Batch(
        source=torch.from_numpy(source),
        source_lengths=torch.from_numpy(source_lengths),
        target_in=torch.from_numpy(target_in),
        gold=torch.from_numpy(gold),
        target_lengths=torch.from_numpy(target_lengths),
        pad=pad,
        target_tokens=int(target_lengths.sum()),
        fertilities=fertilities,
    )


def plan_batches(
    source_lengths: Lengths,
    target_lengths: Lengths,
    *,
    batch_tokens: int,
    seed: int,
    epoch: int,
    max_rows: int | None = None,
) -> Plan:
    """Every pair exactly once, in batches of similar length on both sides, in random order.

    Rows times the longest sentence of either side stay within `batch_tokens`, rows within `max_rows`; a
    pair longer than the budget is alone in its batch. Which pairs of equal length meet, where one batch
    ends and the next begins, and the order of the batches depend on (seed, epoch) and nothing else.
    """
    generator = np.random.default_rng((seed, epoch))
    shuffled = generator.permutation(len(source_lengths))
    order = shuffled[_two_sided_order(source_lengths[shuffled], target_lengths[shuffled])]
    batches = _cut(
        order,
        (source_lengths[order], target_lengths[order]),
        batch_tokens=batch_tokens,
        max_rows=max_rows,
        generator=generator,
    )
    return [batches[i] for i in generator.permutation(len(batches))]


def plan_for_inference(
    lengths: Sequence[int] | Lengths, *, batch_tokens: int, max_rows: int | None = None
) -> Plan:
    """Every sentence once, longest first (so that running out of memory shows at once), in batches of rows
    times longest sentence within `batch_tokens`; a sentence longer than that is alone in its batch."""
    known = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-known, kind="stable")
    if len(order) == 1:
        return [order]
    return _cut(order, (known[order],), batch_tokens=batch_tokens, max_rows=max_rows)


def padding_share(plan: Plan, source_lengths: Lengths, target_lengths: Lengths) -> float:
    """Share of padding in the cells of all batches of a plan, both sides together."""
    tokens = cells = 0
    for rows in plan:
        for lengths in (source_lengths[rows], target_lengths[rows]):
            tokens += int(lengths.sum())
            cells += int(lengths.max()) * len(rows)
    return 1.0 - tokens / cells if cells else 0.0


def _two_sided_order(source_lengths: Lengths, target_lengths: Lengths) -> NDArray[np.int64]:
    """Indices by the longer side, which decides how many pairs fit a batch, and among equals by the
    difference of the sides, up and down in turn: neighbours are similar on both sides also where the
    longer side changes. Equal pairs keep their order."""
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
    """Consecutive batches as full as the budget allows or, with a generator, a little less, see `_shorten`.
    `sides` hold the lengths of the pairs in `order`."""
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
    """Where to end a batch that could have `rows`: `anywhere` for the first one; for the others short by a
    random share, without which all epochs would come to end their batches at the same places, and then
    where there is least padding."""
    if anywhere:
        return int(generator.integers(1, rows + 1))
    at_least = math.ceil(rows * (1 - _SLACK))
    at_most = max(at_least, math.floor(rows * (1 - _RANDOM_SLACK * generator.random())))
    return _least_padding(window, at_least=at_least, at_most=at_most)


def _rows_that_fit(window: Sequence[NDArray[np.int64]], batch_tokens: int) -> int:
    """The largest number of first rows whose cells on either side stay within the budget, at least 1."""
    widths = np.maximum.accumulate(np.maximum.reduce(window))
    fits = widths * np.arange(1, len(widths) + 1) <= batch_tokens
    return len(fits) if fits.all() else max(1, int(np.argmin(fits)))


def _least_padding(window: Sequence[NDArray[np.int64]], *, at_least: int, at_most: int) -> int:
    """The number of first rows with the smallest share of padding, the largest such number."""
    rows = np.arange(1, at_most + 1)
    cells = rows * sum(np.maximum.accumulate(side[:at_most]) for side in window)
    tokens = sum(np.cumsum(side[:at_most]) for side in window)
    filled = (tokens / np.maximum(cells, 1))[at_least - 1 :]
    return at_most - int(np.argmax(filled[::-1]))


def _padded(side: Side, rows: NDArray[np.int64], *, pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, longest) ids filled up with `pad`, and the lengths."""
    begins, lengths = side.offsets[rows], side.lengths[rows].astype(np.int64)
    columns = np.arange(int(lengths.max(initial=0)))
    real = columns < lengths[:, None]
    matrix = np.full(real.shape, pad, dtype=np.int64)
    matrix[real] = side.ids[(begins[:, None] + columns)[real]]
    return matrix, lengths
