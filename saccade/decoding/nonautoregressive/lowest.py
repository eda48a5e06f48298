"""The lowest values of each row."""

import torch
from torch import Tensor


def lowest(values: Tensor, real: Tensor, count: Tensor) -> Tensor:
    """Where the `count` (rows,) lowest of each row's real values are, as a mask (rows, longest).

    real (rows, longest); of equal values the earlier one is the lower one.
    """
    order = values.masked_fill(~real, torch.inf).argsort(dim=1, stable=True)
    ranks = torch.arange(order.size(1), device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, ranks)
    return (rank < count[:, None]) & real
