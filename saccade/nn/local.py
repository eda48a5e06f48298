"""Restricted self-attention in time and memory that grow linearly with length ("Attention Is All You
Need", section 4: "considering only a neighborhood of size r"; r is counted per side here).

Queries are cut into blocks. The keys that a block can see are gathered, with overlaps, and each block is
computed as a short sentence, by the same kernel and with the same biases as a whole one.
`benchmarks/local_attention.py` compares it with three alternatives. On a CPU a loop over blocks is as fast
forward, but its gradient grows with the square of the length, because each slice has a gradient of full
length. FlexAttention has no gradient on a CPU and needs a compiler. Dense attention with a band mask is
quadratic and faster only for short sentences, which `block_size` leaves to it.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.nn.masks import band_mask

_LEAST_BLOCK = 16  # the overhead of smaller blocks outweighs what they save


class Attend(Protocol):
    """Attention of queries to keys; query 0 is at the place `offset` among the keys."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, offset: int, visible: Tensor) -> Tensor:
        """Shapes as in `attention.attend`."""
        ...


def block_size(length: int, *, window: int) -> int | None:
    """Number of queries in a block; None for up to four blocks, which are faster in one piece."""
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
    """Computes `attend` with `band_mask(before, after)`, `block` queries at a time.

    query, key, value (batch, heads, length, d), visible (batch, 1, 1, length) or None; returns
    (batch, heads, length, d).
    """
    batch, _, length, _ = query.shape
    blocks = -(-length // block)
    rest, span = blocks * block - length, before + block + after

    def seen(x: Tensor) -> Tensor:
        """Gathers what each block sees: (batch, heads, length, d) to (batch * blocks, heads, span, d)."""
        cut = pad(x, (0, 0, before, rest + after)).unfold(2, span, block)
        return cut.permute(0, 2, 1, 4, 3).flatten(0, 1)

    # The queries of each block: (batch * blocks, heads, block, d).
    own = pad(query, (0, 0, 0, rest)).unflatten(2, (blocks, block)).transpose(1, 2).flatten(0, 1)
    real = query.new_ones(batch, 1, length, 1, dtype=torch.bool) if visible is None else visible.mT
    near = band_mask(block, span, before=before, after=after, offset=before, device=query.device)
    mixed = attend(own, seen(key), seen(value), offset=before, visible=near & seen(real).mT)
    joined: Tensor = mixed.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)
    return joined[:, :, :length]
