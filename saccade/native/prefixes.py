"""Prefix search over the paths of CTC (prefixes.c)."""

import ctypes

import torch
from torch import Tensor

from saccade.native.library import library


def searched(
    blank: Tensor, tokens: Tensor, log_probs: Tensor, slots: Tensor, *, kept: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """See `decoding.prefix_search.prefix_search`; None where there are no kernels for it."""
    kernels = library() if blank.device.type == "cpu" else None
    if kernels is None:
        return None
    sentences, longest, choices = tokens.shape
    inputs = [blank.double(), tokens, log_probs.double(), slots]
    written = torch.zeros(sentences, kept, longest, dtype=torch.int64)
    lengths = torch.empty(sentences, kept, dtype=torch.int64)
    scores = torch.empty(sentences, kept, dtype=torch.float64)
    contiguous = [x.contiguous() for x in inputs]
    kernels.prefix_search(
        *(ctypes.c_void_p(x.data_ptr()) for x in contiguous),
        *map(ctypes.c_long, (sentences, longest, choices, kept)),
        *(ctypes.c_void_p(x.data_ptr()) for x in (written, lengths, scores)),
    )
    return written, lengths, scores
