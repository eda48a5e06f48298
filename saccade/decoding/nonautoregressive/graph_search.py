"""Beam search in the graph of a directed acyclic Transformer, over targets and not over paths."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Found = tuple[tuple[int, ...], float, float]
"""Ids without end symbol, log-probability and score."""


def graph_search(
    emitted: Tensor,
    links: Tensor,
    *,
    width: int,
    alpha: float,
    start: int,
    end: int,
    never: Sequence[int],
) -> list[Found]:
    """Up to `width` targets of one graph, best first.

    emitted (vertices, vocabulary), links (from, to): probabilities. A prefix is kept with the probability of
    each vertex to have emitted its last token, so that all paths to it count together. The log-probability is
    that of all paths; the score is divided by length^alpha, the end symbol counted. A path ends at the last
    vertex, which emits the end symbol; other tokens stand before it, and none of `never`.
    """
    vertices = len(emitted)
    ending = emitted[-1, end]
    words = emitted.clone()
    words[:, list(never)] = 0.0
    words[-1] = 0.0
    prefixes: list[tuple[int, ...]] = [()]
    state = torch.zeros(1, vertices, dtype=emitted.dtype, device=emitted.device)
    state[0, 0] = 1.0
    totals = emitted[0, start].log()[None]  # log-probabilities; a row of `state` adds up to at most 1
    finished: list[Found] = []
    for length in range(1, vertices):
        reached = state @ links  # (prefixes, vertices)
        whole = (totals + (reached[:, -1] * ending).log()).tolist()
        finished += [
            (prefix, value, value / length**alpha)
            for prefix, value in zip(prefixes, whole, strict=True)
            if value > -math.inf
        ]
        finished = sorted(finished, key=lambda one: -one[2])[:width]
        gained = (reached @ words).log() + totals[:, None]  # (prefixes, vocabulary)
        best, flat = gained.flatten().topk(min(width, gained.numel()))
        kept = best > -torch.inf
        # As in `Beam.done`, prefixes are scored at their present length.
        settled = len(finished) == width and float(best[0]) / length**alpha <= finished[-1][2]
        if settled or not bool(kept.any()):
            break
        best, flat = best[kept], flat[kept]
        parent, token = flat // gained.size(1), flat % gained.size(1)
        prefixes = [(*prefixes[old], new) for old, new in zip(parent.tolist(), token.tolist(), strict=True)]
        state = reached[parent] * words[:, token].T
        sums = state.sum(1, keepdim=True)
        state, totals = state / sums, best
    return finished
