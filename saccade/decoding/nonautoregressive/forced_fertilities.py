"""The most likely fertilities for a target of a given length."""

import torch
from torch import Tensor

from saccade.errors import UserError


def most_likely_with_sum(log_probs: Tensor, total: int) -> list[int]:
    """The most likely fertilities that add up to `total`, by dynamic programming over the source.

    log_probs: (source, classes), class n for fertility n.
    """
    source, classes = log_probs.shape
    if total > source * (classes - 1):
        raise UserError(
            f"{total} target pieces for {source} source pieces: the model translates a source piece into at "
            f"most {classes - 1}. Shorten the target."
        )
    rows = log_probs.double().cpu()
    best = torch.full((total + 1,), -torch.inf, dtype=torch.float64)
    best[0] = 0.0
    choices = []
    for row in rows:
        ways = torch.full((classes, total + 1), -torch.inf, dtype=torch.float64)
        for count in range(min(classes, total + 1)):
            ways[count, count:] = best[: total + 1 - count] + row[count]
        best, choice = ways.max(0)
        choices.append(choice)
    chosen: list[int] = []
    for choice in reversed(choices):
        chosen.append(int(choice[total]))
        total -= chosen[-1]
    return chosen[::-1]
