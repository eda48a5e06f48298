"""The rank correlation of attention with attributions.

Attention alone does not show what a prediction rests on (Jain and Wallace 2019); the page compares the two.
"""

import numpy as np
from torch import Tensor

from saccade.models.recording import AttentionMap

_FEWEST = 3
"""Number of keys from which on a rank correlation says something."""


def correlations(one: AttentionMap, attribution: Tensor, *, causal: bool) -> tuple[float | None, ...]:
    """The mean rank correlation of each head of a map (heads, query, key) with attributions (query, key).

    Both are compared in absolute value, on the keys whose attribution is known. causal: a query is compared
    on the keys up to its own alone.
    """
    weights, values = one.weights.double().numpy(), attribution.abs().numpy()
    found = []
    for head in weights:
        rows = []
        for place, (row, value) in enumerate(zip(head, values, strict=True)):
            known = np.isfinite(value)
            if causal:
                known[place + 1 :] = False
            rows.append(rank_correlation(row[known], value[known]))
        defined = [row for row in rows if row is not None]
        found.append(sum(defined) / len(defined) if defined else None)
    return tuple(found)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's rank correlation of two vectors, equal values having their mean rank.

    None for fewer than three values, and if all values of one vector are equal or one is not a number.
    """
    if len(one) < _FEWEST or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    first, second = _ranks(one), _ranks(other)
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends: np.ndarray = counts.cumsum()
    ranks: np.ndarray = (ends - (counts - 1) / 2)[inverse]
    return ranks
