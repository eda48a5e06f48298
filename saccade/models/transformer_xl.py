"""Transformer-XL, a language model with a memory of past segments (Dai et al. 2019)."""

from typing import Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Memory
from saccade.models.interface import Vocabulary
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.layers import BlockSettings
from saccade.nn.linear import Linear
from saccade.nn.positions import NoPositions, SinusoidalPositions
from saccade.nn.reading import DistanceConfig
from saccade.nn.transformer_xl import MemoryAttention, MemoryLayer, memory_mask


class TransformerXLConfig(DistanceConfig):
    """Settings of Transformer-XL; default sizes are the authors' base model for WikiText-103."""

    kind: Literal["transformer-xl"] = "transformer-xl"
    """Kind of model."""
    width: PositiveInt = 410
    """Size of every layer's input and output."""
    heads: PositiveInt = 10
    """Number of attention heads, each with width / heads channels."""
    feed_forward: PositiveInt = 2100
    """Inner size of the position-wise feed-forward network."""
    layers: PositiveInt = 16
    """Number of blocks (attention and feed-forward). The last one depends on up to layers x memory tokens."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on embeddings, distances and sub-layer outputs, inside feed-forward and before the output
    layer."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on attention weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: the sinusoids of distances need an even one")
        if self.same_length and not self.memory:
            raise ValueError("same_length lets each token see `memory` keys, but memory is 0; raise memory")
        return self

    @property
    def blocks(self) -> BlockSettings:
        """The settings that every block is made from."""
        return BlockSettings(
            self.width,
            self.heads,
            self.feed_forward,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.dropout,
        )


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "heads": 4, "feed_forward": 512, "layers": 4},
    "small": {"width": 256, "heads": 4, "feed_forward": 1024, "layers": 6},
    "base": {"segment": 150, "memory": 150},
    "big": {
        "width": 1024,
        "heads": 16,
        "feed_forward": 4096,
        "layers": 18,
        "dropout": 0.2,
        "attention_dropout": 0.2,
        "segment": 384,
        "memory": 384,
    },
}


class TransformerXL(LanguageModel):
    """A `LanguageModel` whose memory is the inputs of each layer, (rows, up to `memory`, width).

    It starts empty and grows with the text; it is never padded.
    """

    config: TransformerXLConfig

    def __init__(self, config: TransformerXLConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, size = config.width, vocabulary.target_size
        self.embedding = Embedding(size, width, positions=NoPositions(), dropout=config.dropout)
        self.sinusoids = SinusoidalPositions(width, layout="halves")
        self.layers = nn.ModuleList(MemoryLayer(config.blocks) for _ in range(config.layers))
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, size)
        self.output.weight = self.embedding.tokens.weight
        self.apply(_initialise)

    def start(self, rows: int) -> Memory:
        """See `LanguageModel.start`."""
        empty = self.output.weight.new_zeros(rows, 0, self.config.width)
        return (empty,) * self.config.layers

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """See `LanguageModel.read`."""
        config, length = self.config, tokens.size(1)
        keys = memory[0].size(1) + length
        reach = config.memory if config.same_length else None
        visible = memory_mask(length, keys, reach=reach, device=tokens.device)
        distances = self._distances(keys)
        x, remembered = self.embedding(tokens), []
        for layer, past in zip(self.layers, memory, strict=True):
            context = torch.cat([past, x], 1)  # (rows, keys, width)
            remembered.append(context[:, max(keys - config.memory, 0) :].detach())
            x = layer(x, context, distances, visible=visible)
        return self.dropout(x), tuple(remembered)

    def _distances(self, keys: int) -> Tensor:
        """Encodings (keys, width) of the distances keys - 1 down to 0, R in the paper."""
        sinusoids = self.sinusoids.rows(0, keys)
        distance = torch.arange(keys - 1, -1, -1, device=sinusoids.device)
        rows: Tensor = self.dropout(sinusoids[distance.clamp(max=self.config.clamp_length or keys)])
        return rows


def _initialise(module: nn.Module) -> None:
    """Initialises as the authors' code does: weights N(0, 0.02), gains around 1, zero biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
    elif isinstance(module, MemoryAttention):
        nn.init.normal_(module.content_bias, std=0.02)
        nn.init.normal_(module.distance_bias, std=0.02)
