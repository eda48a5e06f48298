"""Attention masks: booleans, True = may attend."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, length: int) -> Tensor | None:
    """A mask that hides the padding behind each sequence.

    lengths: (batch,) real tokens of each row, padding on the right. Returns (batch, 1, 1, length), True at
    real tokens, to broadcast over heads and queries; None if no row is padded and the lengths are on the
    CPU, where the check costs nothing, because attention without a mask is faster.
    """
    if lengths.device.type == "cpu" and not torch.compiler.is_compiling() and bool((lengths == length).all()):
        return None
    return (torch.arange(length, device=lengths.device) < lengths[:, None])[:, None, None, :]


def causal_mask(queries: int, keys: int, *, device: torch.device | None = None) -> Tensor:
    """A mask that hides the future: each of the last `queries` positions sees keys up to its own position.

    Returns (queries, keys). The last query sees every key ("Attention Is All You Need", 3.2.3).
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def band_mask(
    queries: int, keys: int, *, before: int, after: int, offset: int = 0, device: torch.device | None = None
) -> Tensor:
    """A mask that hides distant keys: a query sees `before` positions before and `after` behind its own.

    Returns (queries, keys). offset: the place of query 0 among the keys.
    """
    all_keys = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return all_keys.tril(offset + after).triu(offset - before)
