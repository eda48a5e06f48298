"""The lowest values of each row."""

import torch
from torch import Tensor


def lowest(values: Tensor, real: Tensor, count: Tensor) -> Tensor:
    """A mask (rows, longest) of the `count` (rows,) lowest of each row's real values.

    values, real (rows, longest); of equal values the earlier one counts as lower.
    """
    order = values.masked_fill(~real, torch.inf).argsort(dim=1, stable=True)
    ranks = torch.arange(order.size(1), device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, ranks)
    return (rank < count[:, None]) & real
