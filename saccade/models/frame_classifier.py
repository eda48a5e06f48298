"""A classifier of pictures, sounds or arrays: an encoder of frames, and attention that pools its states."""

from typing import Literal

from torch import Tensor, nn

from saccade.models.classifier import ClassifierSettings, encoder_layers
from saccade.models.families import FrameClassifier
from saccade.models.framed import FrameSettings, frame_projection
from saccade.models.interface import Inputs, Vocabulary
from saccade.models.transformer_encoder import TransformerEncoder
from saccade.nn.dropout import Dropout
from saccade.nn.initial import xavier
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.pooling import AttentionPooling


class FrameClassifierConfig(FrameSettings, ClassifierSettings):
    """Settings of a classifier of pictures, sounds or arrays."""

    kind: Literal["frame-classifier"] = "frame-classifier"
    """Kind of model."""


class TransformerFrameClassifier(FrameClassifier):
    """A `FrameClassifier` with a Transformer's encoder."""

    config: FrameClassifierConfig

    def __init__(self, config: FrameClassifierConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width = config.width
        projection = frame_projection(
            config,
            vocabulary.source_size,
            width,
            positions=config.positions,
            length=config.max_positions,
            dropout=config.dropout,
        )
        self.encoder = TransformerEncoder(projection, encoder_layers(config), width=width, norm=config.norm)
        self.pooling = AttentionPooling(width, heads=config.heads)
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(width, vocabulary.target_size)
        xavier(self, but=self.output)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions * self.config.stride if self.config.positions == "learned" else None

    def encode(self, inputs: Inputs) -> Tensor:
        """See `Classifier.encode`."""
        source = inputs["source"]
        x, lengths = self.encoder.embedding(source.values, source.lengths)  # (batch, positions, width)
        states = self.encoder.transform(x, lengths)
        vector: Tensor = self.dropout(self.pooling(states, visible=padding_mask(lengths, x.size(1))))
        return vector
