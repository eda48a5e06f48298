"""Which of a sentence's candidates is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.scoring import Judge


def best_of(
    candidates: Sequence[Sequence[Hypothesis]], source: Tensor, source_lengths: Tensor, judge: Judge | None
) -> list[list[Hypothesis]]:
    """The candidate of the highest score of each sentence, of equals the first. Where there is a judge, the
    score is the judge's."""
    if judge is not None:
        counts = torch.tensor([len(own) for own in candidates], device=source.device)
        sentences = torch.arange(len(candidates), device=source.device).repeat_interleave(counts)
        tokens = [one.tokens for own in candidates for one in own]
        scores = iter(judge.scores(source, source_lengths, tokens, sentences=sentences))
        candidates = [[replace(one, score=next(scores)) for one in own] for own in candidates]
    return [[max(own, key=lambda one: one.score)] for own in candidates]
