"""Transformer-XL's attention, score by score, with plain loops.

Dai et al. 2019 (arXiv 1901.02860), section 3.3. Nothing here imports torch or saccade.
"""

from __future__ import annotations

import math

import numpy as np

from tests.reference.positions import dot
from tests.reference.transformer import Array, position_encoding, softmax


def attended(
    x: Array,
    memory: Array,
    weights: dict[str, Array],
    *,
    heads: int,
    reach: int | None = None,
    clamp: int | None = None,
) -> Array:
    """x (query, width) asks memory (past, width) and itself; returns (query, width), after W_o.

    weights: query, key, value, distance, output (width, width), rows are outputs; u, v (heads, head width).
    reach: keys that a query sees, itself counted; clamp: the furthest distance told apart.
    """
    context = np.concatenate([memory, x])
    past, width = len(memory), x.shape[1]
    d = width // heads
    sinusoids = position_encoding(len(context), width, layout="halves")
    out = np.zeros_like(x)
    for i in range(len(x)):
        seen = [j for j in range(past + i + 1) if reach is None or past + i - j < reach]
        mixed = []
        for h in range(heads):
            rows = slice(h * d, (h + 1) * d)
            query = weights["query"][rows] @ x[i]
            scores = []
            for j in seen:
                distance = past + i - j if clamp is None else min(past + i - j, clamp)
                key = weights["key"][rows] @ context[j]
                by_distance = weights["distance"][rows] @ sinusoids[distance]
                content = dot(query, key) + dot(weights["u"][h], key)
                place = dot(query, by_distance) + dot(weights["v"][h], by_distance)
                scores.append((content + place) / math.sqrt(d))
            share = softmax(scores)
            values = [weights["value"][rows] @ context[j] for j in seen]
            mixed.append(sum(w * value for w, value in zip(share, values, strict=True)))
        out[i] = weights["output"] @ np.concatenate(mixed)
    return out
