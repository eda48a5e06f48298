"""A recogniser: the Transformer's decoder over an encoder that reads frames of a picture or a sound."""

from typing import Literal, Self, cast

from pydantic import Field, model_validator
from torch import Tensor, nn

from saccade.models.families import Recogniser
from saccade.models.framed import FrameSettings, frame_projection
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Memory, Transformer, TransformerSettings
from saccade.models.tying import resolve_tying, tie
from saccade.nn.frames import FrameProjection
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask


class RecogniserConfig(FrameSettings, TransformerSettings):
    """Settings of a recogniser: those of the Transformer, and of the layers that read frames."""

    kind: Literal["recogniser"] = "recogniser"
    """Kind of model."""
    ctc: float = Field(0.0, ge=0, lt=1)
    """Weight of a CTC loss on the encoder's states, the rest being that of the decoder (Watanabe et al.
    2017); 0: there is no output layer for CTC."""

    @model_validator(mode="after")
    def _copies_nothing(self) -> Self:
        if self.copying:
            raise ValueError("copying is for models that read text: frames have no pieces to copy")
        return self


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
    "small": {"width": 192, "heads": 4, "feed_forward": 512, "encoder_layers": 3, "decoder_layers": 2},
    "base": {},
}


class FrameTransformer(Transformer):
    """A `Transformer` whose source is frames (batch, positions, frame width)."""

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`; the memory has a position for each `stride` frames."""
        embedding = cast(FrameProjection, self.encoder.embedding)
        x, lengths = embedding(source, source_lengths)  # (batch, positions, width)
        return Memory(self.encoder.transform(x, lengths), padding_mask(lengths, x.size(1)))

    def _tie(self) -> None:
        tying = resolve_tying(self.config.tied_embeddings, shared=False)  # frames have no embedding to share
        tie(tying, output=self.output, source=self.encoder.embedding, target=self.target_embedding)


class TransformerRecogniser(Recogniser):
    """A `Recogniser` whose body is a Transformer."""

    config: RecogniserConfig

    def __init__(self, config: RecogniserConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        projection = frame_projection(
            config,
            vocabulary.source_size,
            config.width,
            positions=config.positions,
            length=config.max_positions,
            dropout=config.dropout,
        )
        self.body = FrameTransformer(config, vocabulary, source=projection)
        # Without a bias: its loss is computed from hidden states and a matrix alone.
        self.ctc = Linear(config.width, vocabulary.target_size, bias=False) if config.ctc else None
        if self.ctc is not None:
            nn.init.xavier_uniform_(self.ctc.weight)

    @property
    def output(self) -> nn.Linear:  # type: ignore[override]
        """The body's output layer."""
        return self.body.output

    def positions(self, lengths: Tensor) -> Tensor:
        """See `Recogniser.positions`."""
        for stride in self.config.strides:
            lengths = (lengths + stride - 1) // stride
        return lengths

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        limit = self.body.max_source_length
        return None if limit is None else limit * self.config.stride
