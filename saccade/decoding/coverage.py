"""The coverage penalty, by which finished hypotheses are ranked (Wu et al. 2016, equation 14)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.errors import Unsupported
from saccade.models.recording import AttentionMap

Align = Callable[[Tensor, Tensor, Sequence[Sequence[int]]], list[AttentionMap]]
_LEAST = 1e-9
"""Attention below which a source piece counts as not read at all."""


@torch.inference_mode()
def ranked_by_coverage(
    align: Align,
    source: Tensor,
    source_lengths: Tensor,
    found: Sequence[Sequence[Hypothesis]],
    *,
    strength: float,
    end: int,
) -> list[list[Hypothesis]]:
    """The hypotheses of each sentence, best first by score + strength * coverage; this sum is their score.

    align: see `Decoder.align`. Coverage is the sum over source pieces of log min(a, 1), where a is the
    attention that the piece got from all tokens of the hypothesis, in the last layer and averaged over heads.
    Raises UserError for a model without attention to the source.
    """
    counts = torch.tensor([len(own) for own in found], device=source.device)
    sentences = torch.arange(len(found), device=source.device).repeat_interleave(counts)
    targets = [[*one.tokens, end] for own in found for one in own]
    if not targets:
        return [list(own) for own in found]
    layers = align(source[sentences], source_lengths[sentences], targets)
    if not layers:
        raise Unsupported("decoding.coverage_penalty: this model has no attention to the source.")
    weights = layers[-1].weights.mean(1).double()  # (hypotheses, target, source)
    lengths = torch.tensor([len(target) for target in targets], device=source.device)
    written = torch.arange(weights.size(1), device=source.device) < lengths[:, None]
    attention = (weights * written[..., None]).sum(1)  # (hypotheses, source)
    pieces = torch.arange(weights.size(2), device=source.device) < source_lengths[sentences, None] - 1
    logs = attention.clamp(min=_LEAST, max=1.0).log()
    coverage = iter((logs * pieces).sum(1).tolist())
    scored = [[replace(one, score=one.score + strength * next(coverage)) for one in own] for own in found]
    return [sorted(own, key=lambda one: -one.score) for own in scored]
