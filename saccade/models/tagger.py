"""A tagger of words: an encoder over words and their spelling, and a label for each word.

The encoder is the Transformer's, with a position-wise or a convolutional feed-forward network, or a
bidirectional LSTM, the baseline that it is compared with.
"""

import math
from typing import Literal, Self, cast

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.families import Tagger, TaggerSettings
from saccade.models.interface import Inputs, Vocabulary
from saccade.models.placing import Positions, added_positions, attention_positions
from saccade.models.transformer_encoder import TransformerEncoder
from saccade.nn.crf import Crf
from saccade.nn.dropout import Dropout
from saccade.nn.initial import xavier
from saccade.nn.layers import Activation, BlockSettings, EncoderLayer, Norm
from saccade.nn.linear import Linear
from saccade.nn.recurrence import BidirectionalEncoder
from saccade.nn.spelling import SpellingEncoder


class TaggerConfig(TaggerSettings):
    """Settings of a tagger that is trained from scratch."""

    kind: Literal["tagger"] = "tagger"
    """Kind of model."""
    encoder: Literal["transformer", "lstm"] = "transformer"
    """Encoder of the sentence: the Transformer's, or a bidirectional LSTM (with 1 or more layers)."""
    width: PositiveInt = 256
    """Size of every layer's input and output; each direction of an LSTM has half of it."""
    layers: PositiveInt = 2
    """Number of encoder layers."""
    heads: PositiveInt = 4
    """Number of attention heads (transformer)."""
    feed_forward: PositiveInt = 256
    """Inner size of the feed-forward network (transformer). With kernel 3 it has three times the parameters
    that it has with kernel 1."""
    kernel: PositiveInt = 3
    """Number of words that each layer of the feed-forward network sees (transformer): 1 is the position-wise
    network, 3 makes both of its layers convolutions."""
    positions: Positions = "relative"
    """Position encoding (transformer), as in kind transformer."""
    norm: Norm = "pre"
    """Position of layer norm (transformer), as in kind transformer."""
    activation: Activation = "relu"
    """Activation function of the feed-forward network (transformer)."""
    spelling: NonNegativeInt = 128
    """Size of the vector that a convolution makes of the bytes of each word; 0: words are not spelled."""
    spelling_embedding: PositiveInt = 32
    """Size of the embedding of a byte."""
    spelling_kernel: PositiveInt = 3
    """Number of neighbouring bytes that the convolution sees."""
    max_bytes: int = Field(24, ge=3, le=256)
    """Number of bytes of a word that are read, two marks of its ends included; the middle of a longer word is
    left out."""
    max_positions: PositiveInt = 1024
    """Maximum number of words of a sentence with learned positions; others have no limit."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout rate on word vectors, on every sub-layer's output and before the output layer."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on attention weights (transformer)."""
    word_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the words whose embedding is left out in training, so that their spelling has to do."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.spelling_kernel % 2 == 0 or self.kernel % 2 == 0:
            raise ValueError("kernel and spelling_kernel have to be odd, so that a position is in the middle")
        if self.encoder == "lstm":
            if self.width % 2:
                raise ValueError(f"width {self.width} is odd, so it cannot be halved for two directions")
            return self
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"heads of {self.width // self.heads}: rotary positions need an even width")
        return self

    @property
    def spelled(self) -> int | None:
        """See `TaggerSettings.spelled`."""
        return self.max_bytes if self.spelling else None

    @property
    def blocks(self) -> BlockSettings:
        """The settings that every block of the Transformer is made from."""
        return BlockSettings(
            self.width,
            self.heads,
            self.feed_forward,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            kernel=self.kernel,
        )


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 64, "feed_forward": 64, "layers": 1, "spelling": 32},
    "small": {"width": 128, "feed_forward": 128},
    "base": {},
}


class WordTagger(Tagger):
    """A `Tagger` that reads the columns `source` (word ids) and, if words are spelled, `spelling`."""

    config: TaggerConfig

    def __init__(self, config: TaggerConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.encoder = _encoder(config, WordEmbedding(config, vocabulary.source_size))
        # The recurrent encoder applies dropout to its own output.
        self.dropout = Dropout(config.dropout if config.encoder == "transformer" else 0.0)
        self.output: nn.Linear = Linear(config.width, vocabulary.target_size)
        self.crf = Crf(vocabulary.target_size) if config.crf else None
        xavier(self, but=self.output)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        learned = self.config.encoder == "transformer" and self.config.positions == "learned"
        return self.config.max_positions if learned else None

    @property
    def vectors(self) -> nn.Module:
        """See `Tagger.vectors`."""
        return cast(WordEmbedding, self.encoder.embedding).joined

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Tagger.encode`."""
        states: Tensor = self.dropout(self.encoder(inputs, inputs["source"].lengths))
        return states


class WordEmbedding(nn.Module):
    """A vector for each word: its embedding and its spelling, joined by a linear layer, and its position."""

    def __init__(self, config: TaggerConfig, size: int) -> None:
        super().__init__()
        width = config.width
        self.word_dropout = config.word_dropout
        self.tokens = nn.Embedding(size, width)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.scale = math.sqrt(width)
        self.spelling: SpellingEncoder | None = None
        if config.spelling:
            self.spelling = SpellingEncoder(
                config.spelling_embedding,
                config.spelling,
                kernel=config.spelling_kernel,
                dropout=config.dropout / 2,
            )
        self.joined = Linear(width + config.spelling, width)
        positions = config.positions if config.encoder == "transformer" else "none"
        self.positions = added_positions(positions, width, length=config.max_positions)
        self.dropout = Dropout(config.dropout)

    def forward(self, inputs: Inputs) -> Tensor:
        """Vectors (batch, words, width) of the columns `source` (batch, words) and `spelling`
        (batch, words, bytes)."""
        ids = inputs["source"].values
        x: Tensor = self.tokens(ids) * self.scale  # (batch, words, width)
        if self.training and self.word_dropout:
            x = x * (torch.rand(ids.shape, device=ids.device) >= self.word_dropout)[..., None]
        if self.spelling is not None:
            x = torch.cat([x, self.spelling(inputs["spelling"].values)], -1)  # (..., width + spelling)
        embedded: Tensor = self.dropout(self.positions(self.joined(x)))
        return embedded


class RecurrentReader(nn.Module):
    """A bidirectional LSTM over embedded words, called as `TransformerEncoder` is."""

    def __init__(self, embedding: WordEmbedding, config: TaggerConfig) -> None:
        super().__init__()
        width = config.width
        self.embedding = embedding
        self.layers = BidirectionalEncoder(
            width, width // 2, cell="lstm", layers=config.layers, dropout=config.dropout
        )

    def forward(self, source: Inputs, lengths: Tensor) -> Tensor:
        """States (batch, words, width) of the columns; lengths (batch,)."""
        states: Tensor = self.layers(self.embedding(source), lengths)
        return states


def _encoder(config: TaggerConfig, embedding: WordEmbedding) -> nn.Module:
    if config.encoder == "lstm":
        return RecurrentReader(embedding, config)
    layers = (
        EncoderLayer(
            config.blocks,
            positions=attention_positions(
                config.positions, heads=config.heads, head_width=config.width // config.heads, causal=False
            ),
        )
        for _ in range(config.layers)
    )
    return TransformerEncoder(embedding, layers, width=config.width, norm=config.norm)
