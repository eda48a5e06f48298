"""The recurrent encoder-decoder: with attention (Bahdanau et al. 2015; Luong et al. 2015), or without."""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.config import Section
from saccade.models.families import Seq2Seq
from saccade.models.interface import Vocabulary
from saccade.models.recurrent_decoder import EarlyDecoder, LateDecoder, RecurrentState
from saccade.models.tying import resolve_tying, tie
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.positions import NoPositions
from saccade.nn.recurrence import PARTS, BidirectionalEncoder, Cell, Hidden
from saccade.nn.rows import RowLayout
from saccade.nn.scores import AdditiveAlignment, Alignment, DotAlignment, GeneralAlignment

Attention = Literal["additive", "dot", "general", "concat", "none"]


class RecurrentConfig(Section):
    """Settings of recurrent models.

    Bahdanau et al. 2015 use `width` and `encoder_width` 1000, `embedding` 620 and one layer in encoder and
    decoder.
    """

    kind: Literal["recurrent"] = "recurrent"
    """Kind of model."""
    cell: Cell = "gru"
    """Recurrent cell: gru (Cho et al. 2014; Bahdanau et al.) or lstm (Hochreiter and Schmidhuber 1997; Luong
    et al.)."""
    attention: Attention = "additive"
    """Attention score. additive: Bahdanau et al. 2015, computed before the cell; dot, general, concat: Luong
    et al. 2015, after it; none: one fixed vector, as in Cho et al. 2014."""
    input_feeding: bool | None = None
    """Whether the next step also reads the attentional vector (Luong et al., section 3.3). Unset: with dot,
    general and concat."""
    width: PositiveInt = 1280
    """Size of the decoder's hidden states."""
    encoder_width: PositiveInt | None = None
    """Size of the encoder's hidden states in each direction. Unset: half of width, so that an annotation
    (both directions) is as wide as a decoder state."""
    embedding: PositiveInt = 512
    """Size of embeddings and of the vector before the output layer."""
    attention_width: PositiveInt | None = None
    """Size of the hidden layer of additive and concat scores. Unset: width."""
    encoder_layers: PositiveInt = 2
    """Number of bidirectional layers; the papers use 1 (Bahdanau et al.), and 4 of one direction (Luong et
    al.)."""
    decoder_layers: PositiveInt = 2
    """Number of decoder layers."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout rate on embeddings, between layers, on annotations and before the output layer, never from
    state to state (Zaremba et al. 2014). Luong et al. use 0.2."""
    tied_embeddings: Literal["all", "target", "none"] | None = None
    """Matrices that are shared: source, target and output (all); target and output (target); none. Unset: as
    many as the vocabulary allows."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.encoder_width is None and self.width % 2:
            raise ValueError(f"width {self.width} is odd, so it can't be halved: set encoder_width")
        if self.input_feeding and self.attention == "additive":
            raise ValueError(
                "input_feeding = true: additive attention comes before the cell, which already reads its "
                "context; set attention = concat for the same score with input feeding"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError("input_feeding = true: without attention there is no attentional vector to feed")
        if self.attention_width is not None and self.attention not in ("additive", "concat"):
            raise ValueError(
                f"attention_width {self.attention_width}: attention = {self.attention} has no hidden layer; "
                "only additive and concat have one"
            )
        if self.attention == "dot" and self.annotation_width != self.width:
            raise ValueError(
                f"attention = dot multiplies states of width {self.width} with annotations of width "
                f"{self.annotation_width}, twice encoder_width: set encoder_width to half of width, or set "
                "attention = general"
            )
        return self

    @property
    def annotation_width(self) -> int:
        """Size of an annotation: both directions of the encoder."""
        return 2 * (self.encoder_width or self.width // 2)

    @property
    def feeds(self) -> bool:
        """Whether the model uses input feeding."""
        return self.attention in ("dot", "general", "concat") and self.input_feeding is not False


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 288, "embedding": 128, "encoder_layers": 1, "decoder_layers": 1},
    "small": {"width": 512, "embedding": 256, "encoder_layers": 2, "decoder_layers": 1},
    "base": {},
}


@dataclass(frozen=True)
class RecurrentMemory:
    """The encoder's output.

    annotations (batch, source, annotation width) and their padding mask, or the fixed vector as the only
    annotation; summary (batch, ...): input of the decoder's first state.
    """

    annotations: Tensor
    visible: Tensor | None
    summary: Tensor

    def select(self, sentences: Tensor) -> "RecurrentMemory":
        """See `SelectableMemory.select`."""
        visible = None if self.visible is None else self.visible[sentences]
        return RecurrentMemory(self.annotations[sentences], visible, self.summary[sentences])


class Recurrent(Seq2Seq[RecurrentMemory, RecurrentState]):
    """The recurrent encoder-decoder."""

    config: RecurrentConfig

    joins = True

    def __init__(self, config: RecurrentConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        embedding, width, half = config.embedding, config.width, config.annotation_width // 2
        self.source_embedding = self._embedding(vocabulary.source_size)
        self.target_embedding = self._embedding(vocabulary.target_size)
        self.encoder = BidirectionalEncoder(
            embedding, half, cell=config.cell, layers=config.encoder_layers, dropout=config.dropout
        )
        fixed = config.attention == "none"
        self.compress = Linear(2 * half, width) if fixed else None
        self.initial = Linear(width if fixed else half, config.decoder_layers * PARTS[config.cell] * width)
        self.decoder = self._decoder(width if fixed else 2 * half)
        self.dropout = Dropout(config.dropout)
        self.output: nn.Linear = Linear(embedding, vocabulary.target_size, bias=False)
        self._tie()
        self._initialise()

    def forward(self, target_in: Tensor, memory: RecurrentMemory) -> Tensor:
        """Teacher-forced logits (batch, target, vocabulary)."""
        logits: Tensor = self.output(self.decode(target_in, memory))
        return logits

    def encode(self, source: Tensor, source_lengths: Tensor) -> RecurrentMemory:
        """See `Seq2Seq.encode`."""
        annotations = self.encoder(self.source_embedding(source), source_lengths)
        half = annotations.size(2) // 2
        first_backward = annotations[:, 0, half:]  # (batch, half)
        if self.compress is None:
            visible = padding_mask(source_lengths, source.size(1))
            return RecurrentMemory(annotations, visible, first_backward)
        sentence = torch.arange(source.size(0), device=source.device)
        last_forward = annotations[sentence, source_lengths - 1, :half]
        vector = self.compress(torch.cat([last_forward, first_backward], -1)).tanh()  # (batch, width)
        return RecurrentMemory(vector[:, None], None, vector)

    def decode(self, target_in: Tensor, memory: RecurrentMemory) -> Tensor:
        """See `Seq2Seq.decode`."""
        state = self.start(memory, target_in.size(1))
        hidden: Tensor = self.dropout(self.decoder(self.target_embedding(target_in), state))
        return hidden

    def start(self, memory: RecurrentMemory, max_length: int) -> RecurrentState:  # noqa: ARG002 - any length
        """See `Seq2Seq.start`."""
        annotations, attention = memory.annotations, self.decoder.cross_attention
        cross = (annotations, annotations) if attention is None else attention.project_memory(annotations)
        vector = None
        if self.config.feeds:
            vector = memory.summary.new_zeros(annotations.size(0), self.config.embedding)
        layout = RowLayout.even(annotations.size(0), 1)
        return RecurrentState(cross, memory.visible, self._first_hidden(memory.summary), vector, layout)

    def step(self, token: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """See `Seq2Seq.step`."""
        vector, state = self.decoder.step(self.target_embedding(token[:, None])[:, 0], state)
        return self.output(self.dropout(vector)), state

    def _first_hidden(self, summary: Tensor) -> Hidden:
        """The first state, tanh(W summary), of every layer.

        It keeps the parameters' precision even under autocast: rounding errors would accumulate over states.
        """
        first = self.initial(summary).tanh().to(self.initial.weight.dtype)
        layers = first.chunk(self.config.decoder_layers, -1)
        return [layer.chunk(PARTS[self.config.cell], -1) for layer in layers]

    def _embedding(self, size: int) -> Embedding:
        return Embedding(size, self.config.embedding, positions=NoPositions(), dropout=self.config.dropout)

    def _decoder(self, context: int) -> EarlyDecoder | LateDecoder:
        config = self.config
        sizes = {"context": context, "layers": config.decoder_layers}
        if config.attention in ("additive", "none"):
            return EarlyDecoder(
                config.embedding,
                config.width,
                **sizes,
                cell=config.cell,
                dropout=config.dropout,
                attention=None if config.attention == "none" else _alignment(config),
            )
        return LateDecoder(
            config.embedding,
            config.width,
            **sizes,
            cell=config.cell,
            dropout=config.dropout,
            attention=_alignment(config),
            feeding=config.feeds,
        )

    def _tie(self) -> None:
        tying = resolve_tying(self.config.tied_embeddings, shared=self.vocabulary.shared)
        tie(tying, output=self.output, source=self.source_embedding, target=self.target_embedding)

    def _initialise(self) -> None:
        """Initialises the layers between the blocks, which have initialised themselves."""
        for module in (self.compress, self.initial):
            if module is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if self.output.weight is not self.target_embedding.tokens.weight:
            nn.init.normal_(self.output.weight, std=self.config.embedding**-0.5)


def _alignment(config: RecurrentConfig) -> Alignment:
    state, annotation = config.width, config.annotation_width
    if config.attention in ("additive", "concat"):
        return AdditiveAlignment(state, annotation, width=config.attention_width or state)
    if config.attention == "general":
        return GeneralAlignment(state, annotation)
    return DotAlignment()
