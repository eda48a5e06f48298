"""The most likely tokens of each position, taken independently."""

from itertools import accumulate
from math import fsum

import torch
from torch import Tensor

from saccade.models.nonautoregressive.interface import Body, Scheme
from saccade.native.search import log_softmax_, top

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB


def top_token_rows(
    scheme: Scheme, hidden: Tensor, lengths: Tensor, *, never: list[int]
) -> tuple[list[list[int]], list[float]]:
    """The most likely tokens of each row, and the sum of their log-probabilities.

    hidden (rows, longest, width), lengths (rows,). never: ids that are excluded.
    """
    sizes = lengths.tolist()
    real = torch.cat([row[:size] for row, size in zip(hidden, sizes, strict=True)])  # (positions, width)
    tokens, log_probs = (values.tolist() for values in scheme.body.argmax(real, never=never))
    spans = [slice(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]
    return [tokens[span] for span in spans], [fsum(log_probs[span]) for span in spans]


def top_k_tokens(
    body: Body, hidden: Tensor, *, count: int, aside: int, never: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-probability of the id `aside`, and the `count` most likely other ids, at each position.

    hidden (positions, width). never: ids that are excluded; the others keep their log-probabilities. Returns
    float64 (positions,), then ids and float64 log-probabilities (positions, count), best first.
    """
    found = []
    for part in hidden.split(max(1, _CHUNK_ELEMENTS // body.output.out_features)):
        log_probs = log_softmax_(body.output(part))
        own = log_probs[:, aside].double()
        log_probs[:, [aside, *never]] = -torch.inf
        values, tokens = top(log_probs, count)
        found.append((own, tokens, values.double()))
    own, tokens, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return own, tokens, values
