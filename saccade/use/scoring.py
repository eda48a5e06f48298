"""Scores of given targets, in batches of similar length."""

from collections.abc import Sequence
from typing import Any

import torch

from saccade.decoding.interface import Decoder
from saccade.decoding.padding import padded
from saccade.decoding.scoring import TargetScore
from saccade.text.batching import plan_for_inference

Ids = Sequence[int]


@torch.inference_mode()
def score_pairs(
    decoder: Decoder, pairs: Sequence[tuple[Ids, Ids]], prefixes: Sequence[Ids], *, options: Any, device: Any
) -> list[TargetScore]:
    """The score of each pair of source and target ids, in order.

    prefixes: the ids that each target must begin with; options: those of the decoder.
    """
    lengths = [max(len(source), len(target)) for source, target in pairs]
    scores = [TargetScore(0.0, 0.0, 0)] * len(pairs)
    counts_forced = getattr(options, "rules", "plain") == "plain"
    for batch in plan_for_inference(lengths, batch_tokens=options.batch_tokens):
        rows = [int(index) for index in batch]
        sources, targets = zip(*(pairs[index] for index in rows), strict=True)
        source = padded(sources, pad=decoder.vocabulary.pad, device=device)
        own = [prefixes[index] for index in rows]
        values = decoder.log_probs(*source, targets, options=options, prefixes=own)
        for index, target, value in zip(rows, targets, values.tolist(), strict=True):
            tokens = len(target) - (0 if counts_forced else len(prefixes[index]))
            scores[index] = TargetScore(value, decoder.score(value, len(target), options=options), tokens)
    return scores
