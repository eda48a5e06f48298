"""Padding: sequences of different lengths as one tensor."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor


def padded(
    sequences: Sequence[Sequence[int]], *, pad: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Ids (sequences, longest), padded on the right with `pad`, and lengths (sequences,)."""
    lengths = [len(sequence) for sequence in sequences]
    longest = max(lengths)
    rows = [[*sequence, *[pad] * (longest - len(sequence))] for sequence in sequences]
    make = partial(torch.tensor, dtype=torch.int64, device=device)
    return make(rows), make(lengths)
