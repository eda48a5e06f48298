"""Log-probabilities and the few best of many (search.c), with torch's own if there are no kernels."""

import ctypes

import torch
from torch import Tensor

from saccade.native.library import library

_MOST = 64
"""Up to this count the kernel is faster than torch's selection."""


def log_softmax_(logits: Tensor) -> Tensor:
    """Logits (rows, classes) to float32 log-probabilities; may overwrite them."""
    kernels = _kernels(logits)
    if kernels is None:
        return logits.log_softmax(-1, dtype=torch.float32)
    rows, classes = logits.shape
    kernels.log_softmax(logits.data_ptr(), rows, classes)
    return logits


def top(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row of x (rows, n), in descending order, and their places."""
    kernels = _kernels(x) if 0 < count <= min(_MOST, x.size(1)) else None
    if kernels is None:
        values, places = x.topk(count)
        return values, places
    rows, width = x.shape
    values, places = torch.empty(rows, count), torch.empty(rows, count, dtype=torch.int64)
    kernels.top_k(x.data_ptr(), rows, width, count, values.data_ptr(), places.data_ptr())
    return values, places


def _kernels(x: Tensor) -> ctypes.CDLL | None:
    suits = x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous()
    return library() if suits else None
