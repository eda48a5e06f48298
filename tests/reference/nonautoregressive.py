"""Slow loops for non-autoregressive models, written from the papers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def copied_by_fertility(source: Sequence[int], fertilities: Sequence[int]) -> list[int]:
    """Gu et al. 2018, section 3.3: each source token as often as its fertility."""
    return [token for token, count in zip(source, fertilities, strict=True) for _ in range(count)]


def copied_uniformly(source: Sequence[int], length: int) -> list[int]:
    """Section 3.1; the middle of input t falls onto the source token that is copied."""
    return [source[math.floor((t + 0.5) * len(source) / length)] for t in range(length)]


def collapse(path: Sequence[int], blank: int) -> list[int]:
    """CTC: repetitions to one, then blanks out (Graves et al. 2006)."""
    return [token for token, _ in itertools.groupby(path) if token != blank]


def paths(log_probs: Tensor, target: Sequence[int], blank: int) -> Iterator[tuple[list[int], float]]:
    """Every path (slots, vocabulary) that collapses to the target, with its log-probability."""
    slots, size = log_probs.shape
    for path in itertools.product(range(size), repeat=slots):
        if collapse(path, blank) == list(target):
            yield list(path), float(sum(log_probs[slot, token] for slot, token in enumerate(path)))


def ctc_log_prob(log_probs: Tensor, target: Sequence[int], blank: int) -> float:
    """Of all paths together."""
    found = [score for _, score in paths(log_probs, target, blank)]
    return float(torch.tensor(found, dtype=torch.float64).logsumexp(0)) if found else -math.inf


def best_path(log_probs: Tensor, target: Sequence[int], blank: int) -> list[int]:
    """The likeliest path to the target."""
    return max(paths(log_probs, target, blank), key=lambda found: found[1])[0]


def positional_attention(
    x: Tensor, positions: Tensor, weights: dict[str, Tensor], heads: int
) -> list[list[float]]:
    """Gu et al. 2018, section 3.2, one sentence, a loop over heads and positions; x (length, width)."""
    length, width = x.shape
    query = positions @ weights["query"].T + weights["query_bias"]
    key = positions @ weights["key"].T + weights["key_bias"]
    value = x @ weights["value"].T + weights["value_bias"]
    size = width // heads
    rows = []
    for i in range(length):
        mixed: list[float] = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = [float(query[i, part] @ key[j, part]) / math.sqrt(size) for j in range(length)]
            total = sum(math.exp(score) for score in scores)
            mix = sum(math.exp(scores[j]) / total * value[j, part] for j in range(length))
            mixed += torch.as_tensor(mix).tolist()
        rows.append(mixed)
    return rows
