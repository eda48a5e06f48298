"""Scaled dot-product and multi-head attention ("Attention Is All You Need", section 3.2).

Each attention module can also compute its bare weights (`weights`, same arguments as `forward`).
That is how attention is recorded: a hook asks for them, while the forward pass itself always runs
torch's fused kernel and keeps nothing.
"""

import contextlib
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from saccade.nn.cache import KeyValueCache
from saccade.nn.masks import causal_mask

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, each (batch, heads, key, head width)."""


def attention_weights(query: Tensor, key: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(d_k)), masked before the softmax (equation 1).

    query (batch, heads, query, d_k), key (batch, heads, key, d_k), visible: broadcastable to
    (batch, heads, query, key), True = may look. Rows sum to 1; a row that may look nowhere is 0.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if visible is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    return weights.masked_fill(~visible.any(-1, keepdim=True), 0.0)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    visible: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Weighted sum of values: `attention_weights` times value, in one fused kernel.

    Shapes as there, value (batch, heads, key, d_v); returns (batch, heads, query, d_v).
    dropout: on the weights; pass 0 outside training.
    """
    precision = query.dtype
    with _cpu_in_float32(query):
        if query.device.type == "cpu":
            query, key, value = (x.float() if x.dtype == torch.bfloat16 else x for x in (query, key, value))
        mixed: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=causal, dropout_p=dropout
        )
        return mixed.to(precision)


def _cpu_in_float32(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """bfloat16 attention is several times slower than float32 on CPUs; autocast would cast it back."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return torch.autocast("cpu", enabled=False)
    return contextlib.nullcontext()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, length, heads * d) to (batch, heads, length, d)."""
    split: Tensor = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return split


def merge_heads(x: Tensor) -> Tensor:
    """(batch, heads, length, d) to (batch, length, heads * d): the concatenation of section 3.2.2."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Every position of a sequence attends to positions of the same sequence."""

    def __init__(self, width: int, *, heads: int, causal: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """x (batch, length, width), visible as in `attention_weights`; returns x's shape."""
        query, key, value = self._project(x)
        dropout = self.dropout if self.training else 0.0
        # SDPA takes a mask or the causal flag; the flag alone is the fast path.
        if visible is not None and self.causal:
            visible = visible & causal_mask(x.size(1), x.size(1), device=x.device)
        mixed = attend(
            query, key, value, visible=visible, causal=self.causal and visible is None, dropout=dropout
        )
        return self._merge(mixed)

    def step(self, x: Tensor, cache: KeyValueCache) -> Tensor:
        """One new position of each hypothesis, which joins the cache and attends to all before it.

        x (sentences, hypotheses, width), one position each; returns the same shape.
        """
        sentences, hypotheses, width = x.shape
        query, key, value = self._project(x.reshape(-1, 1, width))
        keys, values = cache.append(key, value)
        return self._merge(attend(query, keys, values)).view(sentences, hypotheses, width)

    def weights(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """(batch, heads, query, key) for the same arguments as `forward`."""
        query, key, _ = self._project(x)
        if self.causal:
            causal = causal_mask(x.size(1), x.size(1), device=x.device)
            visible = causal if visible is None else visible & causal
        return attention_weights(query, key, visible=visible)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _merge(self, mixed: Tensor) -> Tensor:
        merged: Tensor = self.output(merge_heads(mixed))
        return merged


class CrossAttention(nn.Module):
    """Every target position attends to the encoder's output."""

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def remember(self, memory: Tensor) -> KeyValue:
        """Keys and values of memory (batch, source, width), computed once a sentence."""
        key, value = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return key.transpose(1, 2), value.transpose(1, 2)

    def forward(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None = None) -> Tensor:
        """x (batch, query, width), visible (batch, 1, 1, source); returns x's shape.

        In stepwise decoding the queries are a sentence's hypotheses, so that they share its memory.
        """
        query = split_heads(self.query(x), self.heads)
        dropout = self.dropout if self.training else 0.0
        mixed: Tensor = self.output(merge_heads(attend(query, *memory, visible=visible, dropout=dropout)))
        return mixed

    def weights(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None = None) -> Tensor:
        """(batch, heads, query, source) for the same arguments as `forward`."""
        return attention_weights(split_heads(self.query(x), self.heads), memory[0], visible=visible)
