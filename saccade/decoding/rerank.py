"""Reranking: choosing one of the candidate translations of each sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from saccade.config import build
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig, Penalty, length_penalty
from saccade.decoding.scoring import target_log_probs
from saccade.models.interface import TeacherForced


@dataclass(frozen=True)
class Reranker:
    """An autoregressive model that picks among candidates (Gu et al. 2018, section 4.1).

    It ranks them as it ranks its own hypotheses: by log-probability under its own length penalty.
    """

    model: TeacherForced
    penalty: Penalty
    alpha: float

    @classmethod
    def of(cls, model: TeacherForced, decoding: Mapping[str, Any]) -> "Reranker":
        """A reranker with the model's own settings `[decoding]`."""
        settings = build(DecodingConfig, decoding, where="decoding")
        return cls(model, settings.length_penalty, settings.alpha)

    def scores(
        self,
        source: Tensor,
        source_lengths: Tensor,
        candidates: Sequence[Sequence[int]],
        *,
        sentences: Tensor | None = None,
    ) -> list[float]:
        """The score of each candidate, ids without end symbol. sentences: see `target_log_probs`."""
        end = self.model.vocabulary.end
        targets = [[*candidate, end] for candidate in candidates]
        values = target_log_probs(self.model, source, source_lengths, targets, sentences=sentences)
        return [
            float(value) / length_penalty(len(target), kind=self.penalty, alpha=self.alpha)
            for value, target in zip(values.tolist(), targets, strict=True)
        ]


def rerank(
    candidates: Sequence[Sequence[Hypothesis]],
    source: Tensor,
    source_lengths: Tensor,
    reranker: Reranker | None,
) -> list[list[Hypothesis]]:
    """The candidate with the highest score of each sentence, the first among equals.

    With a reranker, its scores replace those of the hypotheses.
    """
    if reranker is not None:
        counts = torch.tensor([len(own) for own in candidates], device=source.device)
        sentences = torch.arange(len(candidates), device=source.device).repeat_interleave(counts)
        tokens = [one.tokens for own in candidates for one in own]
        scores = iter(reranker.scores(source, source_lengths, tokens, sentences=sentences))
        candidates = [[replace(one, score=next(scores)) for one in own] for own in candidates]
    return [[max(own, key=lambda one: one.score)] for own in candidates]
