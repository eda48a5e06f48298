"""The Transformer encoder-decoder ("Attention Is All You Need", sections 3 and 5)."""

from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.config import Section
from saccade.models.interface import Vocabulary, select_sentences
from saccade.nn.attention import KeyValue
from saccade.nn.cache import KeyValueCache
from saccade.nn.embedding import Embedding
from saccade.nn.layers import Activation, DecoderLayer, EncoderLayer, Norm
from saccade.nn.masks import padding_mask
from saccade.nn.positions import Layout, LearnedPositions, SinusoidalPositions


class TransformerConfig(Section):
    """Sizes default to the paper's base model (table 3)."""

    kind: Literal["transformer"] = "transformer"
    """Which system this is."""
    width: PositiveInt = 512
    """Size of every layer's input and output, d_model."""
    heads: PositiveInt = 8
    """Attention heads; each is width / heads wide."""
    feed_forward: PositiveInt = 2048
    """Inner size of the position-wise feed-forward network, d_ff."""
    encoder_layers: PositiveInt = 6
    """Blocks of self-attention and feed-forward."""
    decoder_layers: PositiveInt = 6
    """Blocks of causal self-attention, cross-attention and feed-forward."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """On each sub-layer's output and on embedding + position (section 5.4)."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """On attention weights; not in the paper, 0.1 in its authors' code."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Inside the feed-forward network; not in the paper, 0.1 in its authors' code."""
    activation: Activation = "relu"
    """Between the two products of the feed-forward network."""
    norm: Norm = "post"
    """Layer norm after the residual sum (the paper) or before each sub-layer and at the end."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """How a token's place is added to its embedding (section 3.5)."""
    sinusoid_layout: Layout = "interleaved"
    """interleaved: the paper's; halves: all sines first, as Marian lays them out."""
    max_positions: PositiveInt = 1024
    """Longest source or target with learned positions; sinusoids have no limit."""
    tied_embeddings: Literal["all", "target", "none"] | None = None
    """Which matrices are one: source, target and output; target and output; none. Unset: all that can be."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        return self


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "heads": 4, "feed_forward": 256, "encoder_layers": 4, "decoder_layers": 4},
    "small": {"width": 256, "heads": 4, "feed_forward": 1024, "encoder_layers": 3, "decoder_layers": 3},
    "base": {},
    "big": {"width": 1024, "heads": 16, "feed_forward": 4096, "dropout": 0.3},
}


@dataclass(frozen=True)
class Memory:
    """What the encoder read: states (batch, source, width) and their padding mask."""

    states: Tensor
    visible: Tensor | None


@dataclass
class TransformerState:
    """Per sentence: cross keys and values. Per hypothesis: one self-attention cache a layer."""

    memory: list[KeyValue]
    visible: Tensor | None
    past: list[KeyValueCache]
    sentences: int
    hypotheses: int = 1

    def select(self, rows: Tensor) -> "TransformerState":
        """See `State.select`."""
        kept = select_sentences(rows, sentences=self.sentences, hypotheses=self.hypotheses)
        memory, visible = self.memory, self.visible
        if kept is not None:
            memory = [(key.index_select(0, kept), value.index_select(0, kept)) for key, value in memory]
            visible = None if visible is None else visible.index_select(0, kept)
        past = [cache.select(rows.flatten()) for cache in self.past]
        return TransformerState(memory, visible, past, *rows.shape)


class Transformer(nn.Module):
    """Encoder-decoder Transformer; satisfies `Seq2Seq`."""

    def __init__(self, config: TransformerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        sizes: dict[str, Any] = {
            "heads": config.heads,
            "feed_forward": config.feed_forward,
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
            "activation_dropout": config.activation_dropout,
            "activation": config.activation,
            "norm": config.norm,
        }
        self.source_embedding = self._embedding(vocabulary.source_size)
        self.target_embedding = self._embedding(vocabulary.target_size)
        width, source_layers, target_layers = config.width, config.encoder_layers, config.decoder_layers
        self.encoder = nn.ModuleList(EncoderLayer(width, **sizes) for _ in range(source_layers))
        self.decoder = nn.ModuleList(DecoderLayer(width, **sizes) for _ in range(target_layers))
        # Post-norm layers end in a norm already; pre-norm leaves the residual stream unnormalised.
        final = nn.LayerNorm if config.norm == "pre" else nn.Identity
        self.encoder_norm, self.decoder_norm = final(width), final(width)
        self.output = nn.Linear(width, vocabulary.target_size, bias=False)
        self._tie()
        self._initialise()

    @property
    def max_source_length(self) -> int | None:
        """Learned positions end somewhere, sinusoids do not."""
        return self.config.max_positions if self.config.positions == "learned" else None

    @property
    def max_target_length(self) -> int | None:
        """As `max_source_length`."""
        return self.max_source_length

    def forward(self, target_in: Tensor, memory: Memory) -> Tensor:
        """Teacher-forced logits (batch, target, vocabulary)."""
        logits: Tensor = self.output(self.decode(target_in, memory))
        return logits

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        visible = padding_mask(source_lengths, source.size(1))
        x = self.source_embedding(source)
        for layer in self.encoder:
            x = layer(x, visible=visible)
        return Memory(self.encoder_norm(x), visible)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`. Padding on the right needs no mask: causality hides it from real tokens."""
        x = self.target_embedding(target_in)
        for layer in self._decoder_layers():
            x = layer(x, layer.cross_attention.remember(memory.states), visible=memory.visible)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def start(self, memory: Memory, max_length: int) -> TransformerState:
        """See `Seq2Seq.start`."""
        states, heads = memory.states, self.config.heads
        sentences, head_width = states.size(0), self.config.width // heads
        remembered = [layer.cross_attention.remember(states) for layer in self._decoder_layers()]
        past = [
            KeyValueCache.empty(sentences, heads, max_length, head_width, like=states) for _ in self.decoder
        ]
        return TransformerState(remembered, memory.visible, past, sentences)

    def step(self, token: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """See `Seq2Seq.step`."""
        x = self.target_embedding(token[:, None], start=state.past[0].length)
        x = x.view(state.sentences, state.hypotheses, -1)
        for layer, memory, cache in zip(self.decoder, state.memory, state.past, strict=True):
            x = layer(x, memory, visible=state.visible, cache=cache)
        return self.output(self.decoder_norm(x)).flatten(0, 1), state

    def _decoder_layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.decoder))

    def _embedding(self, size: int) -> Embedding:
        config = self.config
        if config.positions == "learned":
            positions: nn.Module = LearnedPositions(config.width, length=config.max_positions)
        else:
            positions = SinusoidalPositions(config.width, layout=config.sinusoid_layout)
        return Embedding(size, config.width, positions=positions, dropout=config.dropout)

    def _tie(self) -> None:
        tied = self.config.tied_embeddings or ("all" if self.vocabulary.shared else "target")
        if tied == "all" and not self.vocabulary.shared:
            raise ValueError("tied_embeddings = all needs one vocabulary for source and target")
        if tied in ("all", "target"):
            self.output.weight = self.target_embedding.tokens.weight
        if tied == "all":
            self.source_embedding.tokens.weight = self.target_embedding.tokens.weight

    def _initialise(self) -> None:
        """Xavier for products, zero biases, N(0, 1/width) for embeddings, which are scaled by sqrt(width)."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module is not self.output:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if self.output.weight is not self.target_embedding.tokens.weight:
            nn.init.normal_(self.output.weight, std=self.config.width**-0.5)


def count_parameters(config: TransformerConfig, vocabulary: Vocabulary) -> int:
    """Parameters of such a model, tied ones counted once, without taking memory for it."""
    with torch.device("meta"):
        model = Transformer(config, vocabulary)
    return sum(parameter.numel() for parameter in model.parameters())
