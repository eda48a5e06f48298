"""A classifier of texts: an encoder, attention that pools its states, and one label for each text.

`classifier` is trained from scratch; `bert-classifier` pools the states of BERT's encoder, which may come
from a pre-trained model.
"""

import math
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.config import Section
from saccade.models.bert import BertEncoderConfig, bert_encoder, initialise
from saccade.models.families import Classifier
from saccade.models.interface import Inputs, Vocabulary
from saccade.models.placing import Positions, added_positions, attention_positions
from saccade.models.transformer_encoder import TransformerEncoder
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.layers import Activation, BlockSettings, EncoderLayer, Norm
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.pooling import AttentionPooling


class ClassifierSettings(Section):
    """The settings of classifiers with an encoder of their own, whatever it reads."""

    kind: str
    """Kind of model."""
    width: PositiveInt = 128
    """Size of embeddings and of every layer's input and output."""
    layers: NonNegativeInt = 1
    """Number of encoder layers; with 0, attention pools the embeddings themselves."""
    heads: PositiveInt = 4
    """Number of attention heads of each layer, and of the pooling."""
    feed_forward: PositiveInt = 256
    """Inner size of the feed-forward network."""
    positions: Positions = "sinusoidal"
    """Position encoding, as in kind transformer."""
    max_positions: PositiveInt = 1024
    """Maximum number of pieces of a text with learned positions; others have no limit."""
    norm: Norm = "pre"
    """Position of layer norm, as in kind transformer."""
    activation: Activation = "relu"
    """Activation function of the feed-forward network."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout rate on embeddings, on every sub-layer's output and before the output layer."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on attention weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"heads of {self.width // self.heads}: rotary positions need an even width")
        return self

    @property
    def blocks(self) -> BlockSettings:
        """The settings that every block is made from."""
        return BlockSettings(
            self.width,
            self.heads,
            self.feed_forward,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
        )


class ClassifierConfig(ClassifierSettings):
    """Settings of a classifier that is trained from scratch."""

    kind: Literal["classifier"] = "classifier"
    """Kind of model."""


class BertClassifierConfig(BertEncoderConfig):
    """Settings of a classifier over BERT's encoder, which may come from a pre-trained model."""

    kind: Literal["bert-classifier"] = "bert-classifier"
    """Kind of model."""


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 32, "feed_forward": 64},
    "small": {"width": 64, "feed_forward": 128},
    "base": {},
}


class TextClassifier(Classifier):
    """A `Classifier` with an encoder of its own."""

    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width = config.width
        positions = added_positions(config.positions, width, length=config.max_positions)
        embedding = Embedding(
            vocabulary.source_size, width, positions=positions, dropout=config.dropout, scale=math.sqrt(width)
        )
        self.encoder = TransformerEncoder(embedding, encoder_layers(config), width=width, norm=config.norm)
        self.pooling = AttentionPooling(width, heads=config.heads)
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, vocabulary.target_size)
        xavier(self, but=self.output)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions if self.config.positions == "learned" else None

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Classifier.encode`."""
        return _pooled(self.encoder, self.pooling, self.dropout, inputs)


class BertClassifier(Classifier):
    """A `Classifier` over BERT's encoder."""

    config: BertClassifierConfig

    def __init__(self, config: BertClassifierConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.encoder = bert_encoder(config, vocabulary.source_size)
        self.pooling = AttentionPooling(config.width, heads=config.heads)
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(config.width, vocabulary.target_size)
        initialise(self, config.width)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Classifier.encode`."""
        return _pooled(self.encoder, self.pooling, self.dropout, inputs)


def _pooled(encoder: nn.Module, pooling: AttentionPooling, dropout: Dropout, inputs: Inputs) -> Tensor:
    source = inputs["source"]
    states: Tensor = encoder(source.values, source.lengths)  # (batch, source, width)
    vector: Tensor = dropout(pooling(states, visible=padding_mask(source.lengths, states.size(1))))
    return vector


def encoder_layers(config: ClassifierSettings) -> list[EncoderLayer]:
    """The layers of the encoder."""
    return [
        EncoderLayer(
            config.blocks,
            positions=attention_positions(
                config.positions, heads=config.heads, head_width=config.width // config.heads, causal=False
            ),
        )
        for _ in range(config.layers)
    ]
