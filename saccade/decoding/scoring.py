"""Scoring: log-probabilities of given targets under an autoregressive model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from saccade.decoding.limits import Limits
from saccade.decoding.padding import padded
from saccade.models.interface import TeacherForced
from saccade.native.search import log_softmax_

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB


@dataclass(frozen=True)
class TargetScore:
    """The score of a given target, in the same terms as that of a translation.

    log_prob: nats, end symbol included; score: log_prob under the length penalty. tokens: the number of
    tokens that log_prob sums over, without those that are forced and count 0 (see `DecodingConfig.rules`).
    """

    log_prob: float
    score: float
    tokens: int


def target_log_probs(
    model: TeacherForced,
    source: Tensor,
    source_lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    sentences: Tensor | None = None,
    limits: Limits | None = None,
) -> Tensor:
    """Log-probability in nats of each target, including its end symbol; float64 (targets,).

    source (batch, source), source_lengths (batch,); targets: ids of each, the end symbol last. sentences
    (targets,): the row of source that each target belongs to; None: there is one target for each row. limits:
    those of the targets in search, so that tokens count as they do there; None: each counts in full.
    """
    vocabulary = model.vocabulary
    gold, lengths = padded(targets, pad=vocabulary.pad, device=source.device)
    # The hidden states behind the end symbol of shorter rows are not used.
    shifted = torch.cat([torch.full_like(gold[:, :1], vocabulary.start), gold[:, :-1]], 1)
    memory = model.encode(source, source_lengths)
    memory = memory if sentences is None else memory.select(sentences)
    hidden = model.decode(shifted, memory)  # (targets, longest, width)
    real = torch.arange(gold.size(1), device=source.device) < lengths[:, None]
    allowed = None
    if limits is not None and limits.rules != "plain":
        forced, early = limits.on(gold)  # (targets, longest)
        real &= ~forced
        if limits.rules == "renormalized":
            allowed = _Allowed(limits.banned, early[real], limits.end)
    log_probs = torch.zeros(gold.shape, dtype=torch.float64, device=source.device)
    log_probs[real] = _token_log_probs(model, hidden[real], gold[real], allowed).double()
    return log_probs.sum(1)


class _Allowed(NamedTuple):
    """What tokens may not be: banned ids, and the end symbol if `early` (tokens,)."""

    banned: Tensor
    early: Tensor
    end: int

    def apply(self, logits: Tensor, gold: Tensor, part: slice) -> None:
        """Sets the logits (tokens, vocabulary) of all that is not allowed to -inf, except those of gold."""
        own = logits.gather(1, gold[:, None])
        logits.index_fill_(1, self.banned, -torch.inf)
        logits[self.early[part], self.end] = -torch.inf
        logits.scatter_(1, gold[:, None], own)


def _token_log_probs(model: TeacherForced, hidden: Tensor, gold: Tensor, allowed: _Allowed | None) -> Tensor:
    """Log-probabilities of gold (tokens,) given hidden (tokens, width), a chunk of logits at a time."""
    rows = max(1, _CHUNK_ELEMENTS // model.output.out_features)
    found = []
    for number, (part, answer) in enumerate(zip(hidden.split(rows), gold.split(rows), strict=True)):
        logits = model.output(part)
        if allowed is not None:
            allowed.apply(logits, answer, slice(number * rows, (number + 1) * rows))
        found.append(log_softmax_(logits).gather(1, answer[:, None]).squeeze(1))
    return torch.cat(found)
