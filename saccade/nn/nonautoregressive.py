"""The blocks of models that write all positions at once (Gu et al. 2018, sections 3.1 and 3.2)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.nn.attention import (
    KeyValue,
    SelfAttention,
    attend,
    attention_weights,
    merge_heads,
    split_heads,
)
from saccade.nn.dropout import LayerDropout
from saccade.nn.layers import BlockSettings
from saccade.nn.linear import Linear
from saccade.nn.recorded import AttentionModule


class PositionalAttention(AttentionModule):
    """Attention whose queries and keys are sinusoidal positions and whose values are states (section 3.2)."""

    kind = "positional"

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key = Linear(width, 2 * width)
        self.value = Linear(width, width)
        self.output = Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """x (batch, length, width), positions (length, width), visible (batch, 1, 1, length)."""
        query, key = self._places(x, positions)
        value = split_heads(self.value(x), self.heads)
        dropout = self.dropout if self.training else 0.0
        mixed = attend(query, key, value, visible=visible, dropout=dropout)
        merged: Tensor = self.output(merge_heads(mixed))
        return merged

    def weights(self, x: Tensor, positions: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """Weights (batch, heads, query, key) for the same arguments as `forward`."""
        return attention_weights(*self._places(x, positions), visible=visible)

    def _places(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        query, key = self.query_key(positions.to(x.dtype)[None]).chunk(2, -1)
        batch = x.size(0)
        return (
            split_heads(query, self.heads).expand(batch, -1, -1, -1),
            split_heads(key, self.heads).expand(batch, -1, -1, -1),
        )


class NonAutoregressiveDecoderLayer(nn.Module):
    """Self-attention without a causal mask, optional positional attention, cross-attention, feed-forward."""

    def __init__(self, settings: BlockSettings, *, positional: bool) -> None:
        super().__init__()
        sizes: dict[str, Any] = {"heads": settings.heads, "dropout": settings.attention_dropout}
        self.self_attention = SelfAttention(settings.width, causal=False, kind="decoder", **sizes)
        self.positional_attention = PositionalAttention(settings.width, **sizes) if positional else None
        self.cross_attention = settings.cross_attention()
        self.feed_forward = settings.feed_forward_network()
        self.self_attention_residual = settings.residual()
        self.positional_attention_residual = settings.residual() if positional else None
        self.cross_attention_residual = settings.residual()
        self.feed_forward_residual = settings.residual()
        self.layer_dropout = LayerDropout(settings.layer_dropout)

    def forward(
        self,
        x: Tensor,
        memory: KeyValue,
        positions: Tensor,
        *,
        seen: Tensor | None,
        real: Tensor | None,
        visible: Tensor | None,
    ) -> Tensor:
        """x (batch, target, width), positions (target, width); returns x's shape.

        seen: mask of the target's self-attention, broadcastable to (batch, 1, target, target); real: padding
        mask of the target, (batch, 1, 1, target); visible: padding mask of the source.
        """
        before = x
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, visible=seen))
        if self.positional_attention is not None and self.positional_attention_residual is not None:
            attention = self.positional_attention
            x = self.positional_attention_residual(x, lambda y: attention(y, positions, visible=real))
        x = self.cross_attention_residual(x, lambda y: self.cross_attention(y, memory, visible=visible))
        out: Tensor = self.layer_dropout(before, self.feed_forward_residual(x, self.feed_forward))
        return out


@dataclass(frozen=True)
class CrossKeyValues:
    """The source as the decoder layers read it: keys and values of each layer, and the padding mask
    (sentences, 1, 1, source)."""

    layers: tuple[KeyValue, ...]
    visible: Tensor | None

    def select(self, sentences: Tensor) -> "CrossKeyValues":
        """The keys and values with a row for each of `sentences` (rows,), which may occur several times."""
        layers = tuple((key[sentences], value[sentences]) for key, value in self.layers)
        return CrossKeyValues(layers, None if self.visible is None else self.visible[sentences])


def target_mask(
    target: int, real: Tensor | None, *, sees_itself: bool, device: torch.device
) -> Tensor | None:
    """The mask of the target's self-attention, broadcastable to (batch, 1, target, target), or None.

    real (batch, 1, 1, target): padding mask, or None without padding.
    """
    if sees_itself:
        return real
    others = ~torch.eye(target, dtype=torch.bool, device=device)
    return others if real is None else real & others
