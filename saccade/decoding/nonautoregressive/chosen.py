"""Log-probabilities of chosen tokens, and of each token of a target given those before it."""

import torch
from torch import Tensor

from saccade.models.interface import Projection

_LOGITS = 1 << 22  # held at a time: 32 MB
_POSSIBLE = -1e29  # a log-probability below this one stands for 0


def log_probs_at(output: Projection, hidden: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities in nats, float64 (..., choices), of ids (..., choices) at hidden (..., width)."""
    rows, choices = hidden.flatten(0, -2), ids.flatten(0, -2)
    step = max(_LOGITS // output.out_features, 1)
    found = [
        output(part).double().log_softmax(-1).gather(1, own)
        for part, own in zip(rows.split(step), choices.split(step), strict=True)
    ]
    return torch.cat(found).view(ids.shape)


def conditional(prefixes: Tensor) -> Tensor:
    """The log-probability of each token given those before it, from those of the prefixes, (rows, tokens).

    NaN for a token that no path leads to.
    """
    found = prefixes.diff(dim=1, prepend=torch.zeros_like(prefixes[:, :1]))
    return torch.where(prefixes > _POSSIBLE, found, torch.nan)


def undefined(source: Tensor, tokens: int) -> Tensor:
    """NaN for each of some tokens, (rows, tokens), given sources (rows, source)."""
    return torch.full((source.size(0), tokens), torch.nan, dtype=torch.float64, device=source.device)
