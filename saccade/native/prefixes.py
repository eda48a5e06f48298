"""Prefix search over the paths of CTC (prefixes.c)."""

import torch
from torch import Tensor

from saccade.native.library import library


def prefix_beam_search(
    blank: Tensor, tokens: Tensor, log_probs: Tensor, slots: Tensor, *, kept: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """See `decoding.nonautoregressive.prefix_search.prefix_search`; None if there are no kernels for it."""
    kernels = library() if blank.device.type == "cpu" else None
    if kernels is None:
        return None
    sentences, longest, choices = tokens.shape
    inputs = [blank.double(), tokens.to(torch.int64), log_probs.double(), slots.to(torch.int64)]
    written = torch.zeros(sentences, kept, longest, dtype=torch.int64)
    lengths = torch.empty(sentences, kept, dtype=torch.int64)
    scores = torch.empty(sentences, kept, dtype=torch.float64)
    contiguous = [x.contiguous() for x in inputs]
    kernels.prefix_search(
        *(x.data_ptr() for x in contiguous),
        *(sentences, longest, choices, kept),
        *(x.data_ptr() for x in (written, lengths, scores)),
    )
    return written, lengths, scores
