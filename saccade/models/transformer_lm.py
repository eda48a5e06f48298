"""A Transformer as a language model without a memory: what Transformer-XL is compared with."""

from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.families import LanguageModel, Memory
from saccade.models.interface import Vocabulary
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.layers import EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.positions import SinusoidalPositions
from saccade.nn.reading import MemoryConfig


class TransformerLMConfig(MemoryConfig):
    """The decoder of "Attention Is All You Need" without its encoder: causal, sinusoidal positions."""

    kind: Literal["transformer-lm"] = "transformer-lm"
    """Which system this is."""
    memory: NonNegativeInt = 0
    """Tokens before the segment that are read once more with it: a window slides over the text. With 0 a
    segment's first token knows nothing of the text before."""
    width: PositiveInt = 512
    """Size of every layer's input and output."""
    heads: PositiveInt = 8
    """Attention heads; each is width / heads wide."""
    feed_forward: PositiveInt = 2048
    """Inner size of the position-wise feed-forward network."""
    layers: PositiveInt = 6
    """Blocks of causal self-attention and feed-forward."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """On embedding + position, each sub-layer's output, inside feed-forward, and before the output."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """On attention weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        return self


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "heads": 4, "feed_forward": 512, "layers": 4},
    "small": {"width": 256, "heads": 4, "feed_forward": 1024, "layers": 6},
    "base": {},
    "big": {"width": 1024, "heads": 16, "feed_forward": 4096, "dropout": 0.3},
}


class TransformerLM(LanguageModel):
    """A `LanguageModel` whose memory is the ids of the last `memory` tokens, which are read once more."""

    config: TransformerLMConfig

    def __init__(self, config: TransformerLMConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width, size = config.width, vocabulary.target_size
        self.embedding = Embedding(size, width, positions=SinusoidalPositions(width), dropout=config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                width,
                heads=config.heads,
                feed_forward=config.feed_forward,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                activation_dropout=config.dropout,
                causal=True,
            )
            for _ in range(config.layers)
        )
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, size)
        self.output.weight = self.embedding.tokens.weight
        self._initialise()

    def start(self, rows: int) -> Memory:
        """See `LanguageModel.start`."""
        return (torch.zeros(rows, 0, dtype=torch.int64, device=self.output.weight.device),)

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """See `LanguageModel.read`."""
        text = torch.cat([memory[0], tokens], 1)
        x = self.embedding(text)
        for layer in self.layers:
            x = layer(x, visible=None)
        remembered = text[:, max(text.size(1) - self.config.memory, 0) :]
        return self.dropout(x[:, memory[0].size(1) :]), (remembered,)

    def _initialise(self) -> None:
        """Xavier for products, zero biases; embeddings as `Embedding` has them."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if module is not self.output:
                    nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
