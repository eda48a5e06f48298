"""The blocks of models that write all positions at once (Gu et al. 2018, sections 3.1 and 3.2), and stacks
of them: the two parts of such a model that something faster can stand in for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.nn.attention import (
    CrossAttention,
    KeyValue,
    SelfAttention,
    attend,
    attention_weights,
    merge_heads,
    split_heads,
)
from saccade.nn.layers import Activation, EncoderLayer, FeedForward, Norm, Residual
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask


class PositionalAttention(nn.Module):
    """Positions look for positions, and get what stands there: queries and keys are made of sinusoids
    alone, values of the states (section 3.2)."""

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
        """(batch, heads, query, key) for the same arguments as `forward`."""
        return attention_weights(*self._places(x, positions), visible=visible)

    def _places(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        query, key = self.query_key(positions.to(x.dtype)[None]).chunk(2, -1)
        batch = x.size(0)
        return (
            split_heads(query, self.heads).expand(batch, -1, -1, -1),
            split_heads(key, self.heads).expand(batch, -1, -1, -1),
        )


class ParallelDecoderLayer(nn.Module):
    """Self-attention without a future, positional attention where asked, cross-attention, feed-forward."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        feed_forward: int,
        positional: bool,
        activation: Activation = "relu",
        norm: Norm = "post",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes: dict[str, Any] = {"heads": heads, "dropout": attention_dropout}
        self.self_attention = SelfAttention(width, causal=False, **sizes)
        self.positional_attention = PositionalAttention(width, **sizes) if positional else None
        self.cross_attention = CrossAttention(width, **sizes)
        self.feed_forward = FeedForward(
            width, feed_forward, activation=activation, dropout=activation_dropout
        )
        self.around_self = Residual(width, norm=norm, dropout=dropout)
        self.around_positional = Residual(width, norm=norm, dropout=dropout) if positional else None
        self.around_cross = Residual(width, norm=norm, dropout=dropout)
        self.around_feed_forward = Residual(width, norm=norm, dropout=dropout)

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

        seen: who sees whom among the targets, broadcastable to (batch, 1, target, target); real: which
        of them are no padding, (batch, 1, 1, target); visible: the same of the source.
        """
        x = self.around_self(x, lambda y: self.self_attention(y, visible=seen))
        if self.positional_attention is not None and self.around_positional is not None:
            attention = self.positional_attention
            x = self.around_positional(x, lambda y: attention(y, positions, visible=real))
        x = self.around_cross(x, lambda y: self.cross_attention(y, memory, visible=visible))
        out: Tensor = self.around_feed_forward(x, self.feed_forward)
        return out


class EncoderStack(nn.ModuleList):
    """Encoder layers, one after the other."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (batch, source, width), lengths (batch,); returns x's shape."""
        visible = padding_mask(lengths, x.size(1))
        for layer in cast(Sequence[EncoderLayer], self):
            x = layer(x, visible=visible)
        return x


@dataclass(frozen=True)
class Remembered:
    """What a stack of decoder layers needs of the source: keys and values of each layer, and what of them is
    no padding, (sentences, 1, 1, source)."""

    layers: tuple[KeyValue, ...]
    visible: Tensor | None

    def select(self, sentences: Tensor) -> "Remembered":
        """A row for each of `sentences` (rows,), which may come several times."""
        layers = tuple((key[sentences], value[sentences]) for key, value in self.layers)
        return Remembered(layers, None if self.visible is None else self.visible[sentences])


class ParallelDecoderStack(nn.ModuleList):
    """Parallel decoder layers, one after the other."""

    def remember(self, states: Tensor, lengths: Tensor) -> Remembered:
        """Of an encoder's states (sentences, source, width) and lengths (sentences,), once a sentence."""
        layers = cast(Sequence[ParallelDecoderLayer], self)
        memory = tuple(layer.cross_attention.remember(states) for layer in layers)
        return Remembered(memory, padding_mask(lengths, states.size(1)))

    def forward(
        self, x: Tensor, lengths: Tensor, memory: Remembered, positions: nn.Module, *, sees_itself: bool
    ) -> Tensor:
        """x (batch, target, width), lengths (batch,); returns x's shape.

        positions: adds those of the target. sees_itself: whether a position's self-attention does.
        """
        target = x.size(1)
        real = padding_mask(lengths, target)
        seen = real
        if not sees_itself:
            others = ~torch.eye(target, dtype=torch.bool, device=x.device)
            seen = others if real is None else real & others
        places = positions(torch.zeros(target, x.size(2), device=x.device))
        for layer, remembered in zip(cast(Sequence[ParallelDecoderLayer], self), memory.layers, strict=True):
            x = layer(x, remembered, places, seen=seen, real=real, visible=memory.visible)
        return x
