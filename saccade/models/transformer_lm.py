"""A causal Transformer as a language model, the baseline that Transformer-XL is compared with."""

from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Memory
from saccade.models.interface import Vocabulary
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.layers import BlockSettings, EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.positions import SinusoidalPositions
from saccade.nn.reading import MemoryConfig


class TransformerLMConfig(MemoryConfig):
    """Settings of the language model: the decoder of "Attention Is All You Need" without cross-attention."""

    kind: Literal["transformer-lm"] = "transformer-lm"
    """Kind of model."""
    memory: NonNegativeInt = 0
    """Number of tokens before the segment that are read again with it, as a sliding window. With 0, the first
    token of a segment sees nothing of the text before."""
    width: PositiveInt = 512
    """Size of every layer's input and output."""
    heads: PositiveInt = 8
    """Number of attention heads, each with width / heads channels."""
    feed_forward: PositiveInt = 2048
    """Inner size of the position-wise feed-forward network."""
    layers: PositiveInt = 6
    """Number of blocks (causal self-attention and feed-forward)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on embedding + position, on sub-layer outputs, inside feed-forward and before the output
    layer."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on attention weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
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
    "base": {},
    "big": {"width": 1024, "heads": 16, "feed_forward": 4096, "dropout": 0.3},
}


class TransformerLM(LanguageModel):
    """A `LanguageModel` whose memory is the ids of the last `memory` tokens, which are read again."""

    config: TransformerLMConfig

    def __init__(self, config: TransformerLMConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, size = config.width, vocabulary.target_size
        self.embedding = Embedding(size, width, positions=SinusoidalPositions(width), dropout=config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config.blocks, causal=True) for _ in range(config.layers))
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, size)
        self.output.weight = self.embedding.tokens.weight
        self._initialise()

    def start(self, rows: int) -> Memory:
        """See `LanguageModel.start`."""
        return (torch.zeros(rows, 0, dtype=torch.int64, device=self.output.weight.device),)

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """See `LanguageModel.read`."""
        text = torch.cat([memory[0], tokens], 1)  # (rows, memory + length)
        x = self.embedding(text)  # (rows, memory + length, width)
        for layer in self.layers:
            x = layer(x, visible=None)
        remembered = text[:, max(text.size(1) - self.config.memory, 0) :]
        return self.dropout(x[:, memory[0].size(1) :]), (remembered,)

    def _initialise(self) -> None:
        """Initialises linear layers with Xavier weights and zero biases; `Embedding` initialises itself."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if module is not self.output:
                    nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
