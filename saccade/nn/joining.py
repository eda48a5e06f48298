"""Joining the memories of two batches, padded to one length, and the masks that hide the padding."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad


def join_padded(first: Tensor, second: Tensor, *, axis: int) -> Tensor:
    """Concatenates both batches, padded with zeros along `axis` to the longer of the two."""
    longest = max(first.size(axis), second.size(axis))
    return torch.cat([_filled(first, longest, axis=axis), _filled(second, longest, axis=axis)])


def join_masks(
    first: Tensor | None, second: Tensor | None, *, sizes: tuple[Sequence[int], Sequence[int]]
) -> Tensor | None:
    """Joins the padding masks (batch, 1, 1, length) of two batches; None means that nothing is hidden.

    sizes: (batch, length) of each batch.
    """
    if first is None and second is None and sizes[0][1] == sizes[1][1]:
        return None
    device = next((mask.device for mask in (first, second) if mask is not None), None)
    masks = [
        torch.ones(size[0], 1, 1, size[1], dtype=torch.bool, device=device) if mask is None else mask
        for mask, size in zip((first, second), sizes, strict=True)
    ]
    return join_padded(masks[0], masks[1], axis=3)


def _filled(x: Tensor, length: int, *, axis: int) -> Tensor:
    return x if x.size(axis) == length else pad(x, (0, 0) * (x.dim() - 1 - axis) + (0, length - x.size(axis)))
