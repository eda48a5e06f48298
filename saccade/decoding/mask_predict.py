"""Mask-predict: several rounds, each of which predicts the least certain words anew (Ghazvininejad et al.
2019, section 3)."""

import torch
from torch import Tensor

from saccade.decoding.choice import best_of
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.likeliest import likeliest, rows_of, special
from saccade.decoding.lowest import lowest
from saccade.decoding.parallel_options import MaskPredictDecoding
from saccade.decoding.scoring import Judge
from saccade.models.interface import Masked


def decode_masked(
    model: Masked,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: MaskPredictDecoding,
    judge: Judge | None = None,
) -> list[list[Hypothesis]]:
    """One hypothesis a sentence. log_prob: the sum over its words, each as of the round that wrote it;
    score: their mean, by which one of the lengths is chosen, or the judge's."""
    memory = model.encode(source, source_lengths)
    logits = model.length_logits(memory)
    count = min(options.candidates, logits.size(1))
    lengths = model.length_of(logits.topk(count).indices, memory).flatten()
    sentences = torch.arange(len(source), device=source.device).repeat_interleave(count)
    tokens, log_probs = refine(model, memory.select(sentences), lengths, iterations=options.iterations)
    totals = log_probs.double().sum(1)
    means = totals / lengths
    found = [
        Hypothesis(tuple(ids), log_prob, score)
        for ids, log_prob, score in zip(
            rows_of(tokens, lengths), totals.tolist(), means.tolist(), strict=True
        )
    ]
    candidates = [found[i : i + count] for i in range(0, len(found), count)]
    return best_of(candidates, source, source_lengths, judge if count > 1 else None)


def refine(model: Masked, memory: object, lengths: Tensor, *, iterations: int) -> tuple[Tensor, Tensor]:
    """Tokens and log-probabilities, both (rows, longest), 0 behind a row's end; lengths (rows,).

    Round t of T, from 0, masks the floor(N (T - t) / T) least certain of N words, at least one.
    """
    real = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    tokens = torch.zeros(real.shape, dtype=torch.int64, device=lengths.device)
    log_probs = torch.zeros(real.shape, device=lengths.device)
    for done in range(iterations):
        count = (lengths * (iterations - done) // iterations).clamp(min=1)
        masked = lowest(log_probs, real, count) if done else real
        hidden = model.write(tokens.masked_fill(masked, model.mask), lengths, memory)
        tokens[masked], log_probs[masked] = likeliest(model, hidden[masked], never=special(model))
    return tokens, log_probs
