"""The blocks of the Transformer: residual connection, feed-forward, encoder and decoder layer."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from saccade.native import residual as native
from saccade.nn.attention import AttentionPositions, CrossAttention, KeyValue, SelfAttention
from saccade.nn.cache import KeyValueCache
from saccade.nn.dropout import Dropout
from saccade.nn.linear import Linear
from saccade.nn.rows import RowLayout

Activation = Literal["relu", "gelu", "silu"]
Norm = Literal["post", "pre"]
# In place if the gradient does not need the input.
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": partial(nn.functional.relu, inplace=True),
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}


class FeedForward(nn.Module):
    """The position-wise feed-forward network max(0, x W1 + b1) W2 + b2 ("Attention Is All You Need", 3.3)."""

    def __init__(self, width: int, inner: int, *, activation: Activation = "relu", dropout: float = 0.0):
        super().__init__()
        self.inner = Linear(width, inner)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.outer = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the network to x (..., width); returns the same shape."""
        out: Tensor = self.outer(self.dropout(self.activation(self.inner(x))))
        return out


class Residual(nn.Module):
    """The residual connection around a sub-layer f.

    Post-norm: LayerNorm(x + Dropout(f(x))), as in section 5.4; pre-norm: x + Dropout(f(LayerNorm(x))).
    """

    def __init__(self, width: int, *, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Applies `sublayer`, which keeps the shape, to x (..., width)."""
        if self.pre:
            pre: Tensor = x + self.dropout(sublayer(self.norm(x)))
            return pre
        y = sublayer(x)
        if self.training and native.serves_norm(x, y):
            return native.add_norm(x, y, self.norm, dropout=self.dropout.rate)
        post: Tensor = self.norm(x + self.dropout(y))
        return post


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward. causal: hides later positions, as in a language model."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        feed_forward: int,
        activation: Activation = "relu",
        norm: Norm = "post",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        window: int | None = None,
        positions: AttentionPositions | None = None,
        causal: bool = False,
    ) -> None:
        """window, positions: see `SelfAttention`."""
        super().__init__()
        self.self_attention = SelfAttention(
            width,
            heads=heads,
            causal=causal,
            dropout=attention_dropout,
            window=window,
            positions=positions,
        )
        self.feed_forward = FeedForward(
            width, feed_forward, activation=activation, dropout=activation_dropout
        )
        self.self_attention_residual = Residual(width, norm=norm, dropout=dropout)
        self.feed_forward_residual = Residual(width, norm=norm, dropout=dropout)

    def forward(self, x: Tensor, *, visible: Tensor | None) -> Tensor:
        """x (batch, source, width), visible (batch, 1, 1, source) or None; returns x's shape."""
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, visible=visible))
        out: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return out


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention and feed-forward, for all positions or one at a time."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        feed_forward: int,
        activation: Activation = "relu",
        norm: Norm = "post",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        window: int | None = None,
        positions: AttentionPositions | None = None,
    ) -> None:
        """window, positions: see `SelfAttention`."""
        super().__init__()
        self.self_attention = SelfAttention(
            width, heads=heads, causal=True, dropout=attention_dropout, window=window, positions=positions
        )
        self.cross_attention = CrossAttention(width, heads=heads, dropout=attention_dropout)
        self.feed_forward = FeedForward(
            width, feed_forward, activation=activation, dropout=activation_dropout
        )
        self.self_attention_residual = Residual(width, norm=norm, dropout=dropout)
        self.cross_attention_residual = Residual(width, norm=norm, dropout=dropout)
        self.feed_forward_residual = Residual(width, norm=norm, dropout=dropout)

    def forward(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None) -> Tensor:
        """Processes all target positions, x (batch, target, width); returns x's shape.

        memory: the result of `cross_attention.project_memory`; visible (batch, 1, 1, source) or None.
        """
        x = self.self_attention_residual(x, self.self_attention)
        x = self.cross_attention_residual(x, lambda y: self.cross_attention(y, memory, visible=visible))
        out: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return out

    def step(
        self, x: Tensor, memory: KeyValue, *, visible: Tensor | None, cache: KeyValueCache, layout: RowLayout
    ) -> Tensor:
        """Processes the next position of each row, x (rows, width); returns the same shape.

        memory, visible: as in `forward`, for each sentence; layout: the rows of each sentence.
        """
        x = self.self_attention_residual(x, lambda y: self.self_attention.step(y, cache))
        x = self.cross_attention_residual(
            x,
            lambda y: layout.flat(self.cross_attention(layout.grid(y), memory, visible=visible)),
        )
        out: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return out
