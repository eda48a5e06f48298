"""Restricted self-attention in time and memory that grow linearly with length ("Attention Is All You
Need", section 4: "considering only a neighborhood of size r"; r is counted per side here).

Queries are cut into blocks. The keys that a block can see are gathered, neighbours overlapping, and the
blocks are computed as so many short sentences, by the same kernel and with the same biases as whole ones.
`benchmarks/local_attention.py` measured it against three others. On a CPU a loop over blocks is as fast
forward, but its gradient grows with the square of the length, for each slice has a gradient of full
length. FlexAttention has no gradient on a CPU and wants a compiler. Dense attention with a band mask is
quadratic; it is faster only for short sentences, which `block_size` leaves to it.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.nn.masks import band_mask

_LEAST_BLOCK = 16  # smaller ones cost more for their number than they save


class Attend(Protocol):
    """Attention of some queries to some keys, query 0 being at the place `offset` among the keys."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, offset: int, visible: Tensor) -> Tensor:
        """Shapes as in `attention.attend`."""
        ...


def block_size(length: int, *, window: int) -> int | None:
    """How many queries make a block; None where the length has up to four blocks, and one piece is faster."""
    block = max(window, _LEAST_BLOCK)
    return block if length > 4 * block else None


def attend_in_blocks(
    attend: Attend,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    visible: Tensor | None,
    before: int,
    after: int,
    block: int,
) -> Tensor:
    """`attend` as with `band_mask(before, after)`, for `block` queries at a time.

    query, key, value (batch, heads, length, d), visible (batch, 1, 1, length) or None; returns
    (batch, heads, length, d).
    """
    batch, _, length, _ = query.shape
    blocks = -(-length // block)
    rest, span = blocks * block - length, before + block + after

    def seen(x: Tensor) -> Tensor:
        """(batch, heads, length, d) to what each block sees, (batch * blocks, heads, span, d)."""
        cut = pad(x, (0, 0, before, rest + after)).unfold(2, span, block)
        return cut.permute(0, 2, 1, 4, 3).flatten(0, 1)

    own = pad(query, (0, 0, 0, rest)).unflatten(2, (blocks, block)).transpose(1, 2).flatten(0, 1)
    real = query.new_ones(batch, 1, length, 1, dtype=torch.bool) if visible is None else visible.mT
    near = band_mask(block, span, before=before, after=after, offset=before, device=query.device)
    mixed = attend(own, seen(key), seen(value), offset=before, visible=near & seen(real).mT)
    joined: Tensor = mixed.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)
    return joined[:, :, :length]
