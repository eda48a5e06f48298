"""The rounds in which a non-autoregressive decoder writes, and what it could have written instead."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.nonautoregressive.chosen import log_probs_at
from saccade.decoding.trace import Round, Rounds
from saccade.models.nonautoregressive.interface import Body

_SHOWN = 5  # candidates of a position
_NONE: tuple[tuple[int, float], ...] = ()


def only_round(body: Body, hidden: Tensor, tokens: Sequence[int], *, never: Sequence[int]) -> Rounds:
    """The round of a decoder that writes once: these tokens at hidden states (positions, width).

    never: ids that are no candidates.
    """
    hidden = hidden[: len(tokens)]
    own = torch.tensor(tokens, device=hidden.device)[:, None]
    log_probs = log_probs_at(body.output, hidden, own)[:, 0].tolist()
    written = (True,) * len(tokens)
    return (Round(tuple(tokens), tuple(log_probs), written, likeliest(body, hidden, never=never)),)


def likeliest(
    body: Body, hidden: Tensor, *, never: Sequence[int]
) -> tuple[tuple[tuple[int, float], ...], ...]:
    """The likeliest tokens of hidden states (positions, width) with their log-probabilities, best first."""
    found = []
    for row in hidden:
        log_probs = body.output(row[None])[0].float().log_softmax(-1)
        log_probs[list(never)] = -torch.inf
        values, ids = log_probs.topk(min(_SHOWN, len(log_probs) - len(set(never))))
        found.append(tuple(zip(ids.tolist(), values.tolist(), strict=True)))
    return tuple(found)


def later_round(
    tokens: Tensor, log_probs: Tensor, masked: Tensor, candidates: Sequence[tuple[tuple[int, float], ...]]
) -> Round:
    """The round after which one sentence has these tokens and log-probabilities (positions,).

    masked (positions,): what the round wrote; candidates: those of each of these positions.
    """
    written, own = masked.tolist(), iter(candidates)
    return Round(
        tuple(tokens.tolist()),
        tuple(log_probs.tolist()),
        tuple(written),
        tuple(next(own) if wrote else _NONE for wrote in written),
    )
