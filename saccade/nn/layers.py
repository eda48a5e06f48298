"""The blocks of the Transformer: residual connection, feed-forward, encoder and decoder layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from saccade.native import residual as native
from saccade.nn.attention import AttentionPositions, CrossAttention, KeyValue, SelfAttention
from saccade.nn.cache import KeyValueCache
from saccade.nn.dropout import Dropout, LayerDropout
from saccade.nn.linear import Linear
from saccade.nn.rows import RowLayout

Activation = Literal["relu", "gelu", "silu"]
Norm = Literal["post", "pre"]
EPSILON = 1e-5
"""What layer norms add to the variance, as torch's do."""
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


class ConvolutionalFeedForward(nn.Module):
    """A feed-forward network of two convolutions over neighbouring positions instead of two linear layers.

    Positions outside the sequence are read as zeros, padding included. A kernel of width 1 would be
    `FeedForward`. Source: kolloldas/torchnlp, whose version does not hide the padding and applies ReLU and
    dropout behind the last layer as well.
    """

    def __init__(
        self, width: int, inner: int, *, kernel: int, activation: Activation = "relu", dropout: float = 0.0
    ) -> None:
        """kernel: the odd number of positions that each convolution sees."""
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even: a position would not be in the middle of it")
        self.inner = nn.Conv1d(width, inner, kernel, padding=kernel // 2)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.outer = nn.Conv1d(inner, width, kernel, padding=kernel // 2)
        for layer in (self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, x: Tensor, *, real: Tensor | None) -> Tensor:
        """x (batch, length, width), real (batch, length, 1) or None: False at padding; returns x's shape."""
        hidden = self.dropout(self.activation(_convolved(self.inner, x, real)))  # (batch, length, inner)
        return _convolved(self.outer, hidden, real)


def _convolved(layer: nn.Conv1d, x: Tensor, real: Tensor | None) -> Tensor:
    shown = x if real is None else x.masked_fill(~real, 0.0)
    out: Tensor = layer(shown.transpose(1, 2)).transpose(1, 2)
    return out


class Residual(nn.Module):
    """The residual connection around a sub-layer f.

    Post-norm: LayerNorm(x + Dropout(f(x))), as in section 5.4; pre-norm: x + Dropout(f(LayerNorm(x))).
    """

    def __init__(self, width: int, *, norm: Norm, dropout: float, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=epsilon)
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


@dataclass(frozen=True)
class BlockSettings:
    """The settings that every block of a model shares, and the parts that are made from them.

    width: of a block's input and output; heads: number of attention heads; feed_forward: inner width of the
    feed-forward network. The four dropout rates are those on the output of a sub-layer, on attention weights,
    inside the feed-forward network, and of whole layers. kernel: number of positions that the feed-forward
    network of an encoder layer sees, 1 for the position-wise one; epsilon: what layer norms add to the
    variance.
    """

    width: int
    heads: int
    feed_forward: int
    activation: Activation = "relu"
    norm: Norm = "post"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    layer_dropout: float = 0.0
    kernel: int = 1
    epsilon: float = EPSILON

    def residual(self) -> Residual:
        """Makes the residual connection around a sub-layer."""
        return Residual(self.width, norm=self.norm, dropout=self.dropout, epsilon=self.epsilon)

    def self_attention(
        self, *, causal: bool, window: int | None, positions: AttentionPositions | None
    ) -> SelfAttention:
        """Makes the attention of a sequence to itself; window, positions: see `SelfAttention`."""
        return SelfAttention(
            self.width,
            heads=self.heads,
            causal=causal,
            dropout=self.attention_dropout,
            window=window,
            positions=positions,
        )

    def cross_attention(self) -> CrossAttention:
        """Makes the attention of the target to the source."""
        return CrossAttention(self.width, heads=self.heads, dropout=self.attention_dropout)

    def feed_forward_network(self) -> FeedForward:
        """Makes the feed-forward network."""
        return FeedForward(
            self.width, self.feed_forward, activation=self.activation, dropout=self.activation_dropout
        )

    def convolutional_feed_forward(self) -> ConvolutionalFeedForward:
        """Makes the feed-forward network that sees `kernel` positions."""
        return ConvolutionalFeedForward(
            self.width,
            self.feed_forward,
            kernel=self.kernel,
            activation=self.activation,
            dropout=self.activation_dropout,
        )


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward. causal: hides later positions, as in a language model."""

    def __init__(
        self,
        settings: BlockSettings,
        *,
        window: int | None = None,
        positions: AttentionPositions | None = None,
        causal: bool = False,
    ) -> None:
        """window, positions: see `SelfAttention`."""
        super().__init__()
        self.self_attention = settings.self_attention(causal=causal, window=window, positions=positions)
        if settings.kernel > 1 and causal:
            raise ValueError("a convolutional feed-forward network would see later positions")
        self.feed_forward: FeedForward | ConvolutionalFeedForward = (
            settings.feed_forward_network() if settings.kernel == 1 else settings.convolutional_feed_forward()
        )
        self.self_attention_residual = settings.residual()
        self.feed_forward_residual = settings.residual()
        self.layer_dropout = LayerDropout(settings.layer_dropout)

    def forward(self, x: Tensor, *, visible: Tensor | None) -> Tensor:
        """x (batch, source, width), visible (batch, 1, 1, source) or None; returns x's shape."""
        y = self.self_attention_residual(x, lambda y: self.self_attention(y, visible=visible))
        sublayer: Callable[[Tensor], Tensor] = self.feed_forward
        if isinstance(self.feed_forward, ConvolutionalFeedForward):
            real = None if visible is None else visible[:, 0, 0, :, None]
            sublayer = partial(self.feed_forward, real=real)
        out: Tensor = self.layer_dropout(x, self.feed_forward_residual(y, sublayer))
        return out


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention and feed-forward, for all positions or one at a time."""

    def __init__(
        self,
        settings: BlockSettings,
        *,
        window: int | None = None,
        positions: AttentionPositions | None = None,
    ) -> None:
        """window, positions: see `SelfAttention`."""
        super().__init__()
        self.self_attention = settings.self_attention(causal=True, window=window, positions=positions)
        self.cross_attention = settings.cross_attention()
        self.feed_forward = settings.feed_forward_network()
        self.self_attention_residual = settings.residual()
        self.cross_attention_residual = settings.residual()
        self.feed_forward_residual = settings.residual()
        self.layer_dropout = LayerDropout(settings.layer_dropout)

    def forward(self, x: Tensor, memory: KeyValue, *, visible: Tensor | None) -> Tensor:
        """Processes all target positions, x (batch, target, width); returns x's shape.

        memory: the result of `cross_attention.project_memory`; visible (batch, 1, 1, source) or None.
        """
        y = self.self_attention_residual(x, self.self_attention)
        y = self.cross_attention_residual(y, lambda z: self.cross_attention(z, memory, visible=visible))
        out: Tensor = self.layer_dropout(x, self.feed_forward_residual(y, self.feed_forward))
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
