"""The most likely token of each position, computed without the logits of all positions in memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 22
"""Number of logits held at a time: 16 MB in float32."""


def argmax_log_probs(
    output: Callable[[Tensor], Tensor], hidden: Tensor, *, size: int, never: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The most likely tokens and their log-probabilities, both (positions,), of hidden (positions, width).

    output: maps hidden states to `size` logits. never: ids that are excluded; the others keep their
    log-probabilities.
    """
    tokens, log_probs = [], []
    for part in hidden.split(max(1, CHUNK_ELEMENTS // size)):
        logits = output(part).float()
        total = logits.logsumexp(-1)
        logits[:, list(never)] = -torch.inf
        best, token = logits.max(-1)
        tokens.append(token)
        log_probs.append(best - total)
    return torch.cat(tokens), torch.cat(log_probs)
