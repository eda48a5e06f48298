"""The likeliest tokens of each position by itself."""

from itertools import accumulate
from math import fsum

import torch
from torch import Tensor

from saccade.models.interface import Parallel
from saccade.native.linear import PackedLinear
from saccade.native.search import log_softmax_, top

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB


def likeliest(model: Parallel, hidden: Tensor, *, never: list[int]) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities, both (positions,), of hidden states (positions, width).

    never: ids that are not taken; the others keep their log-probabilities.
    """
    if isinstance(model.output, PackedLinear):
        return model.output.argmax(hidden, excluded=never)
    tokens, log_probs = [], []
    for part in hidden.split(max(1, _CHUNK_ELEMENTS // model.output.out_features)):
        logits = model.output(part).float()
        total = logits.logsumexp(-1)
        logits[:, never] = -torch.inf
        best, token = logits.max(-1)
        tokens.append(token)
        log_probs.append(best - total)
    return torch.cat(tokens), torch.cat(log_probs)


def likeliest_rows(
    model: Parallel, hidden: Tensor, lengths: Tensor, *, never: list[int]
) -> tuple[list[list[int]], list[float]]:
    """The same of sequences, hidden (rows, longest, width) of `lengths` (rows,): each row's tokens, and the
    sum of their log-probabilities."""
    sizes = lengths.tolist()
    real = torch.cat([row[:size] for row, size in zip(hidden, sizes, strict=True)])
    tokens, log_probs = (values.tolist() for values in likeliest(model, real, never=never))
    spans = [slice(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]
    return [tokens[span] for span in spans], [fsum(log_probs[span]) for span in spans]


def few_likeliest(
    model: Parallel, hidden: Tensor, *, count: int, aside: int, never: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of hidden states (positions, width): the log-probability of the id `aside` (positions,), the `count`
    likeliest others, best first, and their log-probabilities (positions, count); float64.

    never: ids that are not taken; the others keep their log-probabilities.
    """
    found = []
    for part in hidden.split(max(1, _CHUNK_ELEMENTS // model.output.out_features)):
        log_probs = log_softmax_(model.output(part))
        own = log_probs[:, aside].double()
        log_probs[:, [aside, *never]] = -torch.inf
        values, tokens = top(log_probs, count)
        found.append((own, tokens, values.double()))
    own, tokens, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return own, tokens, values


def special(model: Parallel) -> list[int]:
    """Ids that no target holds: padding, start and end."""
    vocabulary = model.vocabulary
    return sorted({vocabulary.pad, vocabulary.start, vocabulary.end})


def rows_of(values: Tensor, lengths: Tensor) -> list[list[int]]:
    """Each row of (rows, longest) ids up to its length."""
    rows: list[list[int]] = values.tolist()
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
