"""Relative positions: a learned key and value for each distance (Shaw, Uszkoreit and Vaswani 2018)."""

import math

import torch
from torch import Tensor, nn

from saccade.nn.attention import AttentionPositions, attention_weights, cpu_in_float32, widened
from saccade.nn.positions import distances


class RelativePositions(AttentionPositions):
    """Attention: score(i, j) = q_i (k_j + a^K_ij) / sqrt(d), output i = sum_j weight_ij (v_j + a^V_ij).

    These are equations 4 and 3 of "Self-Attention with Relative Position Representations": a_ij is row
    clip(j - i) of a table, so that all distances beyond `max_distance` count as `max_distance`. As in its
    section 3.3, the heads of a layer share their tables; each layer has its own. Causal attention has no
    positive distances and no rows for them.
    """

    def __init__(self, head_width: int, *, max_distance: int, causal: bool) -> None:
        super().__init__()
        self.before, self.after = max_distance, 0 if causal else max_distance
        rows = self.before + 1 + self.after
        self.keys = nn.Parameter(torch.empty(rows, head_width))
        self.values = nn.Parameter(torch.empty(rows, head_width))
        for table in (self.keys, self.values):
            nn.init.normal_(table, std=head_width**-0.5)

    def bias(self, query: Tensor, keys: int, *, offset: int) -> Tensor:
        """q_i a^K_ij / sqrt(d), the second term of equation 5: (batch, heads, query, key)."""
        with_each = query @ self.keys.to(query.dtype).t() / math.sqrt(query.size(-1))  # (..., query, table)
        row = self._row(query, keys, offset=offset)
        return with_each.gather(-1, row.expand(*query.shape[:2], -1, -1))

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        offset: int,
        visible: Tensor | None = None,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> Tensor:
        """See `AttentionPositions.attend`. No fused kernel is used, because distance values need weights."""
        precision = query.dtype
        with cpu_in_float32(query):
            query, key, value = widened(query), widened(key), widened(value)
            bias = self.bias(query, key.size(2), offset=offset)
            weights = attention_weights(query, key, visible=visible, causal=causal, bias=bias)
            weights = nn.functional.dropout(weights, dropout)
            row = self._row(query, key.size(2), offset=offset).expand_as(weights)
            # The weights of all keys at one distance, summed: (batch, heads, query, rows).
            summed = weights.new_zeros(*weights.shape[:3], self.values.size(0)).scatter_add(-1, row, weights)
            return (weights @ value + summed @ self.values.to(summed.dtype)).to(precision)

    def _row(self, query: Tensor, keys: int, *, offset: int) -> Tensor:
        """The row of the tables for each pair, (query, key)."""
        distance = distances(query.size(-2), keys, offset=offset, device=query.device)
        return distance.clamp(-self.before, self.after) + self.before
