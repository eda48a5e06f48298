"""Source positions that the decoder inputs are copied from (Gu et al. 2018, sections 3.1 and 3.3)."""

import torch
from torch import Tensor


def copies_by_fertility(fertilities: Tensor) -> tuple[Tensor, Tensor]:
    """Repeats each source position as often as its fertility, in order (section 3.3).

    fertilities: (batch, source) whole numbers, 0 at padding. Returns source positions (batch, longest), which
    are arbitrary behind a row's end, and the lengths (batch,), which are the rows' sums.
    """
    ends = fertilities.cumsum(1)
    lengths = ends[:, -1]
    places = torch.arange(_longest(lengths), device=ends.device).expand(ends.size(0), -1).contiguous()
    index = torch.searchsorted(ends, places, right=True)
    return index.clamp(max=fertilities.size(1) - 1), lengths


def copies_uniformly(source_lengths: Tensor, lengths: Tensor) -> Tensor:
    """Spreads source positions evenly over `lengths` decoder inputs (section 3.1, "uniformly").

    Input t of T, from 0, copies position floor((t + 1/2) S / T) of S: with T = 2 S each position twice.
    source_lengths, lengths: (batch,). Returns (batch, longest).
    """
    places = torch.arange(_longest(lengths), device=lengths.device)
    index = (2 * places + 1) * source_lengths[:, None] // (2 * lengths.clamp(min=1)[:, None])
    return index.minimum((source_lengths[:, None] - 1).clamp(min=0))


def _longest(lengths: Tensor) -> int:
    """The greatest length, at least 1, because attention needs at least one column."""
    return max(int(lengths.max()), 1)
