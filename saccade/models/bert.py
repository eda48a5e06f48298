"""BERT: a Transformer encoder that is trained to predict masked words (Devlin et al. 2019).

It differs from the encoder of "Attention Is All You Need" in learned positions, segments, a layer norm over
the embeddings, exact GELU and a larger epsilon of layer norms. The kinds of this file share the encoder:
`bert` predicts masked words, `bert-tagger` labels words.
"""

from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu

from saccade.config import Section
from saccade.errors import Unsupported
from saccade.models.families import MaskedLanguageModel, Tagger, TaggerSettings
from saccade.models.interface import Inputs, PaddedValues, Vocabulary
from saccade.models.transformer_encoder import TransformerEncoder
from saccade.nn.crf import Crf
from saccade.nn.dropout import Dropout
from saccade.nn.gathering import gathered
from saccade.nn.layers import Activation, BlockSettings, EncoderLayer
from saccade.nn.linear import Linear


class BertEncoderConfig(Section):
    """Settings of the encoder; the defaults are BERT base."""

    width: PositiveInt = 768
    """Size of every layer's input and output."""
    layers: PositiveInt = 12
    """Number of encoder layers."""
    heads: PositiveInt = 12
    """Number of attention heads."""
    feed_forward: PositiveInt = 3072
    """Inner size of the feed-forward network."""
    max_positions: PositiveInt = 512
    """Maximum number of pieces that are read together, [CLS] and [SEP] included."""
    segments: PositiveInt = 2
    """Number of segments that have an embedding. Everything is read as the first one."""
    activation: Activation = "gelu"
    """Activation function of the feed-forward network; gelu is the exact one."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on embeddings and sub-layer outputs."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate on attention weights."""
    epsilon: PositiveFloat = 1e-12
    """What layer norms add to the variance."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def blocks(self) -> BlockSettings:
        """The settings that every block is made from."""
        return BlockSettings(
            self.width,
            self.heads,
            self.feed_forward,
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            epsilon=self.epsilon,
        )


class BertConfig(BertEncoderConfig):
    """Settings of BERT with its masked-language-model head."""

    kind: Literal["bert"] = "bert"
    """Kind of model."""
    head: bool = True
    """Whether the model has the head that predicts masked pieces. Published folders of the encoder alone have
    none; such a model gives vectors of texts and can begin a tagger or a classifier."""
    pooler: bool = False
    """Whether the model has BERT's pooler, a layer over the state of [CLS] that published folders may have;
    pre-training here does not train one."""


class BertTaggerConfig(BertEncoderConfig, TaggerSettings):
    """Settings of a tagger over BERT's encoder, which may come from a pre-trained model."""

    kind: Literal["bert-tagger"] = "bert-tagger"
    """Kind of model."""


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "layers": 2, "heads": 2, "feed_forward": 512},
    "small": {"width": 256, "layers": 4, "heads": 4, "feed_forward": 1024},
    "base": {},
    "large": {"width": 1024, "layers": 24, "heads": 16, "feed_forward": 4096},
}
"""The sizes of BERT-Tiny and BERT-Mini (Turc et al. 2019), BERT base and BERT large."""


class BertEmbedding(nn.Module):
    """LayerNorm(token + position + segment), with dropout behind it."""

    def __init__(self, config: BertEncoderConfig, size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size, config.width)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.segments = nn.Embedding(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.dropout = Dropout(config.dropout)

    def forward(self, source: Tensor) -> Tensor:
        """Embeds ids (batch, source); returns (batch, source, width)."""
        length = source.size(1)
        if length > self.positions.num_embeddings:
            raise ValueError(f"the model has {self.positions.num_embeddings} positions, {length} are needed")
        places = torch.arange(length, device=source.device)
        x = self.tokens(source) + self.positions(places) + self.segments.weight[0]
        embedded: Tensor = self.dropout(self.norm(x))
        return embedded


def bert_encoder(config: BertEncoderConfig, size: int) -> TransformerEncoder[BertEmbedding]:
    """The encoder for a vocabulary of `size` pieces."""
    layers = (EncoderLayer(config.blocks) for _ in range(config.layers))
    return TransformerEncoder(BertEmbedding(config, size), layers, width=config.width, norm="post")


class Bert(MaskedLanguageModel):
    """The encoder with its masked-language-model head and its pooler; published models may lack either."""

    config: BertConfig

    def __init__(self, config: BertConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.encoder = bert_encoder(config, vocabulary.source_size)
        self.pooler = Linear(config.width, config.width) if config.pooler else None
        self.head = Linear(config.width, config.width) if config.head else None
        self.head_norm = nn.LayerNorm(config.width, eps=config.epsilon) if config.head else None
        self.output: nn.Linear = Linear(config.width, vocabulary.source_size, bias=config.head)
        self.output.weight = self.encoder.embedding.tokens.weight
        initialise(self, config.width)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions

    def encode(self, source: PaddedValues) -> Tensor:
        """See `MaskedLanguageModel.encode`."""
        states: Tensor = self.encoder(source.values, source.lengths)
        return states

    def hidden(self, states: Tensor) -> Tensor:
        """See `MaskedLanguageModel.hidden`: LayerNorm(GELU(W states + b))."""
        if self.head is None or self.head_norm is None:
            raise Unsupported(
                "this model is BERT's encoder without the head that predicts masked pieces; it gives vectors "
                "of texts. Import a folder of BertForMaskedLM to fill gaps."
            )
        found: Tensor = self.head_norm(gelu(self.head(states)))
        return found

    def pooled(self, states: Tensor) -> Tensor | None:
        """See `MaskedLanguageModel.pooled`: tanh(W state of [CLS] + b)."""
        if self.pooler is None:
            return None
        found: Tensor = self.pooler(states[:, 0]).tanh()
        return found


class BertTagger(Tagger):
    """A `Tagger` that reads the columns `source`, pieces, and `firsts`, where each word begins."""

    config: BertTaggerConfig

    def __init__(self, config: BertTaggerConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.encoder = bert_encoder(config, vocabulary.source_size)
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(config.width, vocabulary.target_size)
        self.crf = Crf(vocabulary.target_size) if config.crf else None
        initialise(self, config.width)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions

    @property
    def vectors(self) -> nn.Module:
        """See `Tagger.vectors`."""
        return self.encoder.embedding.tokens

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Tagger.encode`: the state of each word's first piece."""
        states = self.encoder(inputs["source"].values, inputs["source"].lengths)  # (batch, pieces, width)
        firsts = inputs["firsts"].values  # (batch, words)
        found: Tensor = self.dropout(gathered(states, firsts))
        return found


def initialise(network: nn.Module, width: int) -> None:
    """Draws weights from a normal distribution cut at two standard deviations, and sets biases to 0.

    The standard deviation is 1 / sqrt(width), and not 0.02 as in BERT, with which a model of width 128 was
    still close to predicting pieces by their frequency after 5,000 updates (docs/bert.md).
    """
    spread = width**-0.5
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=spread, a=-2 * spread, b=2 * spread)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
