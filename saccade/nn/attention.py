"""Scaled dot-product and multi-head attention ("Attention Is All You Need", section 3.2).

Each attention module can also compute its weights alone (`weights`, with the same arguments as `forward`).
Recording uses this: a hook asks for them, while the forward pass itself always runs a fused kernel and keeps
nothing.
"""

import contextlib
import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from saccade.native import attention as native
from saccade.nn.cache import KeyValueCache
from saccade.nn.fixed_cache import FixedCache
from saccade.nn.linear import Linear
from saccade.nn.local import attend_in_blocks, block_size
from saccade.nn.masks import band_mask, causal_mask
from saccade.nn.recorded import AttentionKind, AttentionModule

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, each (batch, heads, key, head width)."""


def attention_weights(
    query: Tensor,
    key: Tensor,
    *,
    visible: Tensor | None = None,
    causal: bool = False,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(query key^T / sqrt(d_k) + bias), masked before the softmax (equation 1).

    query (batch, heads, query, d_k), key (batch, heads, key, d_k), visible: broadcastable to
    (batch, heads, query, key), True = may attend; causal also hides the future; bias: broadcastable to the
    same shape. Rows sum to 1; a row with no visible key is 0.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))  # (batch, heads, query, key)
    if bias is not None:
        scores = scores + bias
    if causal:
        visible = _and_past(visible, query, key)
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
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The weighted sum of values, `attention_weights` times value, in one fused kernel of ours or of torch.

    Shapes as in `attention_weights`, value (batch, heads, key, d_v); returns (batch, heads, query, d_v).
    dropout: rate on the weights; pass 0 outside training.
    """
    if bias is None and native.serves(query, key, value, visible=visible, causal=causal):
        return native.short_attention(query, key, value, visible=visible, causal=causal, dropout=dropout)
    precision, mask = query.dtype, visible
    # scaled_dot_product_attention takes a mask or the causal flag; the flag alone is faster.
    if causal and (visible is not None or bias is not None):
        mask, causal = _and_past(visible, query, key), False
    with cpu_in_float32(query):
        query, key, value = widened(query), widened(key), widened(value)
        if bias is not None:
            bias = bias.to(query.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
        mixed: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
        )
        return mixed.to(precision)


def _and_past(visible: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """The mask of keys that are visible and not in the future."""
    past = causal_mask(query.size(-2), key.size(-2), device=query.device)
    return past if visible is None else visible & past


def cpu_in_float32(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Disables autocast on CPUs, where bfloat16 attention is several times slower than float32."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return torch.autocast("cpu", enabled=False)
    return contextlib.nullcontext()


def widened(x: Tensor) -> Tensor:
    """x in float32 if it is bfloat16 on a CPU, for the same reason."""
    return x.float() if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshapes (batch, length, heads * d) to (batch, heads, length, d)."""
    split: Tensor = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return split


def merge_heads(x: Tensor) -> Tensor:
    """Reshapes (batch, heads, length, d) to (batch, length, heads * d), the concatenation of 3.2.2."""
    return x.transpose(1, 2).flatten(2)


class AttentionPositions(nn.Module):
    """Positions inside attention; this base class has none, for positions that are added to embeddings.

    `RotaryPositions`, `RelativePositions` and `AlibiPositions` override one or two of its methods. Queries
    and keys are (batch, heads, length, head width); `offset` is the place of query 0 among the keys: 0 in a
    full pass, the number of earlier keys in stepwise decoding.
    """

    def place(
        self,
        query: Tensor,
        key: Tensor,
        *,
        start: int | Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys with their positions, from `start` on, encoded in them. Keys are cached like this.

        start: an int, or for each row (batch,), as in `SinusoidalPositions.forward`.
        """
        return query, key

    def reserve(self, end: int) -> None:
        """Makes room for `end` positions, for a start that stays on the device."""

    def bias(self, query: Tensor, keys: int, *, offset: int) -> Tensor | None:  # noqa: ARG002
        """A bias of the scores of `keys` keys, broadcastable to (batch, heads, query, key), or None."""
        return None

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
        """Computes attention as the function `attend` does, with the bias."""
        bias = self.bias(query, key.size(2), offset=offset)
        return attend(query, key, value, visible=visible, causal=causal, bias=bias, dropout=dropout)


class SelfAttention(AttentionModule):
    """Attention of every position of a sequence to positions of the same sequence.

    window: number of positions that it sees on either side (causal: backwards); None: all positions.
    positions: positions inside attention, if any. kind: see `AttentionKind`; unset: decoder if causal,
    otherwise encoder.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        causal: bool,
        dropout: float = 0.0,
        window: int | None = None,
        positions: AttentionPositions | None = None,
        kind: AttentionKind | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind or ("decoder" if causal else "encoder")
        self.heads, self.causal, self.dropout, self.window = heads, causal, dropout, window
        self.query_key_value = Linear(width, 3 * width)
        self.output = Linear(width, width)
        self.positions = AttentionPositions() if positions is None else positions

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """x (batch, length, width), visible as in `attention_weights`; returns x's shape.

        With a window `visible` can only hide padding: (batch, 1, 1, length).
        """
        query, key, value = self._project(x, start=0)
        mix = partial(self.positions.attend, dropout=self.dropout if self.training else 0.0)
        if self.window is not None and (block := block_size(x.size(1), window=self.window)):
            after = 0 if self.causal else self.window
            mixed = attend_in_blocks(
                mix, query, key, value, visible=visible, before=self.window, after=after, block=block
            )
        else:
            visible = self._near(visible, x)
            mixed = mix(query, key, value, offset=0, visible=visible, causal=self.causal)
        return self._merge(mixed)

    def step(self, x: Tensor, cache: KeyValueCache) -> Tensor:
        """Processes a new position of each hypothesis, which is cached and attends to all earlier positions.

        x (rows, width), one position each; returns the same shape.
        """
        query, key, value = self._project(x[:, None], start=cache.position)
        keys, values = cache.append(key, value)
        visible = cache.visible
        if self.window is not None:
            keys, values = keys[:, :, -self.window - 1 :], values[:, :, -self.window - 1 :]
            visible = None if visible is None else visible[..., -self.window - 1 :]
        mixed = self.positions.attend(query, keys, values, offset=keys.size(2) - 1, visible=visible)
        return self._merge(mixed)[:, 0]

    def step_fixed(self, x: Tensor, cache: FixedCache) -> Tensor:
        """Processes a new position as `step` does, with a past of fixed size.

        x (rows, width); returns the same shape. Only for positions that need no bias.
        """
        query, key, value = self._project(x[:, None], start=cache.ancestry.step)
        query, key, value = map(cache.by_sentence, (query, key, value))
        keys, values = cache.write(key, value)
        mixed = attend(query, keys, values, visible=cache.ancestry.visible(self.window))
        merged: Tensor = self.output(merge_heads(mixed))  # (sentences, hypotheses, width)
        return merged.flatten(0, 1)

    def weights(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """Weights (batch, heads, query, key) for the same arguments as `forward`."""
        query, key, _ = self._project(x, start=0)
        bias = self.positions.bias(query, key.size(2), offset=0)
        return attention_weights(query, key, visible=self._near(visible, x), causal=self.causal, bias=bias)

    def _near(self, visible: Tensor | None, x: Tensor) -> Tensor | None:
        """The mask of keys that are visible and within the window."""
        if self.window is None:
            return visible
        length = x.size(1)
        near = band_mask(length, length, before=self.window, after=self.window, device=x.device)
        return near if visible is None else visible & near

    def _project(self, x: Tensor, *, start: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # each (batch, length, heads, head width)
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        query, key = self.positions.place(query.transpose(1, 2), key.transpose(1, 2), start=start)
        return query, key, value.transpose(1, 2)

    def _merge(self, mixed: Tensor) -> Tensor:
        merged: Tensor = self.output(merge_heads(mixed))
        return merged


class CrossAttention(AttentionModule):
    """Attention of every target position to the encoder's output."""

    kind = "cross"

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.output = Linear(width, width)

    def project_memory(self, memory: Tensor) -> KeyValue:
        """Keys and values of memory (batch, source, width), computed once for each sentence."""
        key, value = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return key.transpose(1, 2), value.transpose(1, 2)

    def forward(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None = None) -> Tensor:
        """x (batch, query, width), visible (batch, 1, 1, source); returns x's shape.

        In stepwise decoding the queries are a sentence's hypotheses, which share its memory.
        """
        query = split_heads(self.query(x), self.heads)
        dropout = self.dropout if self.training else 0.0
        mixed: Tensor = self.output(merge_heads(attend(query, *memory, visible=visible, dropout=dropout)))
        return mixed

    def weights(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None = None) -> Tensor:
        """Weights (batch, heads, query, source) for the same arguments as `forward`."""
        return attention_weights(split_heads(self.query(x), self.heads), memory[0], visible=visible)
