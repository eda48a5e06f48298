"""Transformer-XL's attention: over a memory and a segment, by content and by distance (Dai et al. 2019)."""

import math

import torch
from torch import Tensor, nn

from saccade.nn.attention import attend, attention_weights, merge_heads, split_heads
from saccade.nn.layers import BlockSettings
from saccade.nn.linear import Linear
from saccade.nn.masks import band_mask, causal_mask
from saccade.nn.recorded import AttentionModule


def shifted(scores: Tensor) -> Tensor:
    """Turns scores by distance into scores by key, both (..., query, key) (Dai et al., appendix B).

    Column c of the input belongs to distance keys - 1 - c in every row; the last query is at the last key.
    The result is correct for keys up to the query's own; later ones are arbitrary and must be masked.
    """
    queries, keys = scores.shape[-2:]
    # With one more column in front, each row of the flattened matrix is shifted one step further to the left.
    flat = nn.functional.pad(scores, (1, 0)).flatten(-2)
    by_key: Tensor = flat[..., queries:].unflatten(-1, (queries, keys))
    return by_key


def memory_mask(
    queries: int, keys: int, *, reach: int | None = None, device: torch.device | None = None
) -> Tensor:
    """The causal mask (query, key) of the last `queries` of `keys` positions.

    reach: maximum number of keys that a query sees, itself included; None: all.
    """
    if reach is None:
        return causal_mask(queries, keys, device=device)
    return band_mask(queries, keys, before=reach - 1, after=0, offset=keys - queries, device=device)


class MemoryAttention(AttentionModule):
    """Attention with score(i, j) = ((q_i + u) . k_j + (q_i + v) . W_R R_(i-j)) / sqrt(d) (section 3.3).

    R_n is the sinusoid of distance n. u (`content_bias`) and v (`distance_bias`) are vectors of each head
    and layer. The linear layers have no biases, as in the authors' code.
    """

    kind = "decoder"

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = Linear(width, width, bias=False)
        self.key_value = Linear(width, 2 * width, bias=False)
        self.distance = Linear(width, width, bias=False)
        self.output = Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))
        self.distance_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))

    def forward(self, x: Tensor, context: Tensor, distances: Tensor, *, visible: Tensor) -> Tensor:
        """x (batch, query, width) attends to context (batch, key, width), which ends in x; returns x's shape.

        distances (key, width): R of the distances key - 1 down to 0. visible: see `memory_mask`.
        """
        key, value = self.key_value(context).chunk(2, -1)
        query, bias = self._query(x, distances)
        dropout = self.dropout if self.training else 0.0
        mixed = attend(
            query,
            split_heads(key, self.heads),
            split_heads(value, self.heads),
            visible=visible,
            bias=bias,
            dropout=dropout,
        )
        out: Tensor = self.output(merge_heads(mixed))
        return out

    def weights(self, x: Tensor, context: Tensor, distances: Tensor, *, visible: Tensor) -> Tensor:
        """Weights (batch, heads, query, key) for the same arguments as `forward`."""
        key, _ = self.key_value(context).chunk(2, -1)
        query, bias = self._query(x, distances)
        return attention_weights(query, split_heads(key, self.heads), visible=visible, bias=bias)

    def _query(self, x: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """The query q + u, and the part of the scores that depends on distance."""
        query = split_heads(self.query(x), self.heads)
        by_distance = split_heads(self.distance(distances)[None], self.heads)  # (1, heads, key, d)
        scores = (query + self.distance_bias) @ by_distance.transpose(-2, -1)
        return query + self.content_bias, shifted(scores / math.sqrt(query.size(-1)))


class MemoryLayer(nn.Module):
    """A layer of Transformer-XL: attention over memory and segment, then feed-forward, with post-norm."""

    compiled_methods = ("forward",)

    def __init__(self, settings: BlockSettings) -> None:
        super().__init__()
        self.self_attention = MemoryAttention(
            settings.width, heads=settings.heads, dropout=settings.attention_dropout
        )
        self.feed_forward = settings.feed_forward_network()
        self.self_attention_residual = settings.residual()
        self.feed_forward_residual = settings.residual()

    def forward(self, x: Tensor, context: Tensor, distances: Tensor, *, visible: Tensor) -> Tensor:
        """See `MemoryAttention.forward`."""
        x = self.self_attention_residual(
            x, lambda y: self.self_attention(y, context, distances, visible=visible)
        )
        out: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return out
