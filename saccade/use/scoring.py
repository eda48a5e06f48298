"""Scores of given targets, in batches of similar length."""

from collections.abc import Sequence
from typing import Any

import torch

from saccade.decoding.scoring import TargetScore
from saccade.text.batching import plan_for_inference
from saccade.use.text_decoder import TextDecoder

Ids = Sequence[int]


@torch.inference_mode()
def score_pairs(
    text: TextDecoder, pairs: Sequence[tuple[Ids, Ids]], prefixes: Sequence[Ids], *, options: Any
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
        own = [prefixes[index] for index in rows]
        values = text.decoder.log_probs(*text.padded(sources), targets, options=options, prefixes=own)
        for index, target, value in zip(rows, targets, values.tolist(), strict=True):
            tokens = len(target) - (0 if counts_forced else len(prefixes[index]))
            score = text.decoder.score(value, len(target), options=options)
            scores[index] = TargetScore(value, score, tokens)
    return scores
