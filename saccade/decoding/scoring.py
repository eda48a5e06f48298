"""Scoring: log-probabilities of given targets under an autoregressive model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.padding import padded
from saccade.models.interface import TeacherForced
from saccade.native.search import log_softmax_

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB


def target_log_probs(
    model: TeacherForced,
    source: Tensor,
    source_lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    sentences: Tensor | None = None,
) -> Tensor:
    """Log-probability in nats of each target, including its end symbol; float64 (targets,).

    source (batch, source), source_lengths (batch,); targets: ids of each, the end symbol last. sentences
    (targets,): the row of source that each target belongs to; None: there is one target for each row.
    """
    vocabulary = model.vocabulary
    gold, lengths = padded(targets, pad=vocabulary.pad, device=source.device)
    # The hidden states behind the end symbol of shorter rows are not used.
    shifted = torch.cat([torch.full_like(gold[:, :1], vocabulary.start), gold[:, :-1]], 1)
    memory = model.encode(source, source_lengths)
    memory = memory if sentences is None else memory.select(sentences)
    hidden = model.decode(shifted, memory)  # (targets, longest, width)
    real = torch.arange(gold.size(1), device=source.device) < lengths[:, None]
    log_probs = torch.zeros(gold.shape, dtype=torch.float64, device=source.device)
    log_probs[real] = _token_log_probs(model, hidden[real], gold[real]).double()
    return log_probs.sum(1)


def _token_log_probs(model: TeacherForced, hidden: Tensor, gold: Tensor) -> Tensor:
    """Log-probabilities of gold (tokens,) given hidden (tokens, width), a chunk of logits at a time."""
    rows = max(1, _CHUNK_ELEMENTS // model.output.out_features)
    found = [
        log_softmax_(model.output(part)).gather(1, answer[:, None]).squeeze(1)
        for part, answer in zip(hidden.split(rows), gold.split(rows), strict=True)
    ]
    return torch.cat(found)
