"""The ladder: a Transformer built in six rungs, each a model that can be trained and used.

    1 `Bare`       attention between target and source, one head
    2 `Placed`     + positions
    3 `Mixing`     + self-attention, without a mask
    4 `Masked`     + the mask that hides the future
    5 `Wide`       + several heads and feed-forward networks
    6 `Whole`      + residual connections and norms: the Transformer that `saccade train` trains

A rung is the one before it with one thing changed. All are `Seq2Seq` models for the toolkit's own training
and search; to write a token they read the whole prefix again, which a cache spares the real model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models.families import Seq2Seq
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Memory, TransformerConfig
from saccade.nn.attention import CrossAttention, SelfAttention
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.layers import FeedForward, Residual
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.positions import NoPositions, SinusoidalPositions
from saccade.nn.rows import Rows


@dataclass(frozen=True)
class Prefix:
    """The state of decoding: what was written, (rows, length), and the memory of each row's sentence."""

    tokens: Tensor
    memory: Memory

    def select(self, rows: Rows) -> "Prefix":
        """See `State.select`."""
        return Prefix(self.tokens[rows.index], self.memory.select(rows.index))

    def join(self, fresh: "Prefix") -> "Prefix":
        """Rungs do not join batches; see `State.join`."""
        raise NotImplementedError


class Bare(Seq2Seq[Memory, Prefix]):
    """Rung 1: the last target word asks, the source words answer. Nothing knows where it stands."""

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.source_embedding = self.embedding(vocabulary.source_size)
        self.target_embedding = self.embedding(vocabulary.target_size)
        self.add_layers()
        self.output: nn.Linear = Linear(config.width, vocabulary.target_size, bias=False)
        xavier(self, but=self.output)
        nn.init.normal_(self.output.weight, std=config.width**-0.5)

    def forward(self, target_in: Tensor, memory: Memory) -> Tensor:
        """Teacher-forced logits (batch, target, vocabulary)."""
        logits: Tensor = self.output(self.decode(target_in, memory))
        return logits

    def embedding(self, size: int) -> Embedding:
        """Embeds words alone."""
        return Embedding(size, self.config.width, positions=NoPositions(), dropout=0.0)

    def add_layers(self) -> None:
        """Attention with one head, as wide as the model."""
        self.cross_attention = CrossAttention(self.config.width, heads=1)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        return Memory(self.source_embedding(source), padding_mask(source_lengths, source.size(1)))

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`."""
        return self.read_source(self.target_embedding(target_in), memory)

    def read_source(self, x: Tensor, memory: Memory) -> Tensor:
        """What target positions x (batch, target, width) find in the source."""
        attention = self.cross_attention
        found: Tensor = attention(x, attention.project_memory(memory.states), visible=memory.visible)
        return found

    def start(self, memory: Memory, max_length: int) -> Prefix:  # noqa: ARG002 - any length
        """See `Seq2Seq.start`."""
        return Prefix(torch.empty(len(memory.states), 0, dtype=torch.int64), memory)

    def step(self, token: Tensor, state: Prefix) -> tuple[Tensor, Prefix]:
        """See `Seq2Seq.step`: reads the whole prefix again."""
        prefix = Prefix(torch.cat([state.tokens, token[:, None]], 1), state.memory)
        return self.output(self.decode(prefix.tokens, prefix.memory)[:, -1]), prefix


class Placed(Bare):
    """Rung 2: words know where they stand."""

    def embedding(self, size: int) -> Embedding:
        """Embeds words and their positions."""
        width = self.config.width
        return Embedding(size, width, positions=SinusoidalPositions(width), dropout=0.0)


class Mixing(Placed):
    """Rung 3: words read the words around them; in training, the target reads its own future."""

    causal = False

    def add_layers(self) -> None:
        """Self-attention in source and target."""
        super().add_layers()
        self.source_attention = SelfAttention(self.config.width, heads=1, causal=False)
        self.target_attention = SelfAttention(self.config.width, heads=1, causal=self.causal)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        memory = super().encode(source, source_lengths)
        return Memory(self.source_attention(memory.states, visible=memory.visible), memory.visible)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`."""
        return self.read_source(self.target_attention(self.target_embedding(target_in)), memory)


class Masked(Mixing):
    """Rung 4: the target reads its past alone."""

    causal = True


class Wide(Masked):
    """Rung 5: several heads, and a feed-forward network behind attention."""

    def add_layers(self) -> None:
        """Several narrow heads and feed-forward networks."""
        width, heads = self.config.width, self.config.heads
        self.cross_attention = CrossAttention(width, heads=heads)
        self.source_attention = SelfAttention(width, heads=heads, causal=False)
        self.target_attention = SelfAttention(width, heads=heads, causal=True)
        self.source_feed_forward = FeedForward(width, self.config.feed_forward)
        self.target_feed_forward = FeedForward(width, self.config.feed_forward)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        memory = super().encode(source, source_lengths)
        return Memory(self.source_feed_forward(memory.states), memory.visible)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`."""
        out: Tensor = self.target_feed_forward(super().decode(target_in, memory))
        return out


class Whole(Wide):
    """Rung 6: each part adds to what it reads, and the sum is normalised: the Transformer, written out.

    With the weights of a `Transformer` (see `from_transformer`) it computes the same.
    """

    def add_layers(self) -> None:
        """A residual connection with a norm around each part."""
        super().add_layers()
        for name in ("source_attention", "source_feed_forward", *_DECODER_PARTS):
            setattr(self, f"{name}_residual", Residual(self.config.width, norm="post", dropout=0.0))

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        visible = padding_mask(source_lengths, source.size(1))
        x = self.source_embedding(source)
        x = self.around("source_attention", x, lambda y: self.source_attention(y, visible=visible))
        return Memory(self.around("source_feed_forward", x, self.source_feed_forward), visible)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`."""
        x = self.around("target_attention", self.target_embedding(target_in), self.target_attention)
        x = self.around("cross_attention", x, lambda y: self.read_source(y, memory))
        return self.around("target_feed_forward", x, self.target_feed_forward)

    def around(self, name: str, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """LayerNorm(x + part(x)), with the norm of the part of this name."""
        out: Tensor = getattr(self, f"{name}_residual")(x, part)
        return out


_DECODER_PARTS = ("target_attention", "cross_attention", "target_feed_forward")

RUNGS: tuple[type[Bare], ...] = (Bare, Placed, Mixing, Masked, Wide, Whole)
"""The rungs, lowest first."""

_NAMES = {
    "encoder.embedding.": "source_embedding.",
    "encoder.layers.0.self_attention": "source_attention",
    "encoder.layers.0.feed_forward": "source_feed_forward",
    "decoder.0.self_attention": "target_attention",
    "decoder.0.cross_attention": "cross_attention",
    "decoder.0.feed_forward": "target_feed_forward",
}


def from_transformer(weights: dict[str, Any]) -> dict[str, Any]:
    """The weights of a Transformer with one layer a side and untied embeddings, by the names of `Whole`."""
    found = {}
    for name, value in weights.items():
        start = next((one for one in _NAMES if name.startswith(one)), "")
        found[_NAMES.get(start, "") + name[len(start) :]] = value
    return found
