"""The pointer network (Vinyals et al. 2015): it reads a sequence of inputs and answers with their positions.

The encoder is a Transformer's, the decoder is recurrent. Both ends of an answer are the mark, position 0; the
inputs have positions from 1.
"""

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor

from saccade.config import Section
from saccade.models.families import Pointer
from saccade.models.interface import Vocabulary
from saccade.models.placing import Positions, added_positions, attention_positions
from saccade.models.recurrent_decoder import RecurrentState
from saccade.models.transformer_encoder import TransformerEncoder
from saccade.nn.dropout import Dropout
from saccade.nn.initial import xavier
from saccade.nn.layers import Activation, BlockSettings, EncoderLayer, Norm
from saccade.nn.masks import padding_mask
from saccade.nn.pointing import NumberEmbedding, PointerScores
from saccade.nn.recurrence import PARTS, Cell, Hidden, Recurrence
from saccade.nn.rows import RowLayout


class PointerConfig(Section):
    """Settings of pointer networks."""

    kind: Literal["pointer"] = "pointer"
    """Kind of model."""
    numbers: int = Field(2, ge=1, le=4096)
    """Number of numbers of each input: 2 for points of a plane, 1 for numbers that are to be sorted."""
    width: PositiveInt = 128
    """Size of embeddings, of every encoder layer's input and output, and of the decoder's hidden states."""
    layers: NonNegativeInt = 3
    """Number of encoder layers."""
    heads: PositiveInt = 4
    """Number of attention heads of each encoder layer."""
    feed_forward: PositiveInt = 512
    """Inner size of the feed-forward network."""
    positions: Positions = "sinusoidal"
    """Position encoding of the inputs, as in kind transformer; none: the answer does not depend on their
    order."""
    max_positions: PositiveInt = 1024
    """Maximum number of inputs with learned positions; others have no limit."""
    decoder_layers: PositiveInt = 1
    """Number of decoder layers."""
    cell: Cell = "lstm"
    """Recurrent cell of the decoder: lstm, as in the paper, or gru."""
    norm: Norm = "pre"
    """Position of layer norm, as in kind transformer."""
    activation: Activation = "relu"
    """Activation function of the feed-forward network."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on embeddings, on every sub-layer's output, between decoder layers and before the
    scores."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate on attention weights of the encoder."""

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
        """The settings that every encoder layer is made from."""
        return BlockSettings(
            self.width,
            self.heads,
            self.feed_forward,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
        )


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 32, "layers": 2, "feed_forward": 64},
    "small": {"width": 64, "layers": 2, "feed_forward": 256},
    "base": {},
}


@dataclass(frozen=True)
class PointerMemory:
    """The encoder's output: states (batch, 1 + source, width), the mark's first, and their padding mask."""

    states: Tensor
    visible: Tensor | None

    def select(self, sentences: Tensor) -> "PointerMemory":
        """See `SelectableMemory.select`."""
        visible = None if self.visible is None else self.visible[sentences]
        return PointerMemory(self.states[sentences], visible)


class PointerNetwork(Pointer[PointerMemory, RecurrentState]):
    """The pointer network.

    The decoder reads the encoder's state of the input that was pointed at last; in the paper it reads the
    input itself.
    """

    config: PointerConfig

    joins = True

    def __init__(self, config: PointerConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        width = config.width
        positions = added_positions(config.positions, width, length=config.max_positions + 1)
        embedding = NumberEmbedding(config.numbers, width, positions=positions, dropout=config.dropout)
        self.encoder = TransformerEncoder(embedding, _layers(config), width=width, norm=config.norm)
        self.decoder = Recurrence(
            width, width, cell=config.cell, layers=config.decoder_layers, dropout=config.dropout
        )
        self.dropout = Dropout(config.dropout)
        self.pointer = PointerScores(width, width, width=width)
        xavier(self.encoder.layers)

    @property
    def max_source_length(self) -> int | None:
        """See `Network.max_source_length`."""
        return self.config.max_positions if self.config.positions == "learned" else None

    def encode(self, source: Tensor, source_lengths: Tensor) -> PointerMemory:
        """See `Pointer.encode`."""
        lengths = source_lengths + 1  # the mark
        states = self.encoder(source, lengths)
        return PointerMemory(states, padding_mask(lengths, states.size(1)))

    def decode(self, target_in: Tensor, memory: PointerMemory) -> Tensor:
        """See `Pointer.decode`."""
        hidden = self.decoder(_pointed_at(memory.states, target_in), self._first(memory.states))
        cross = self.pointer.project_memory(memory.states)
        scores: Tensor = self.pointer(self.dropout(hidden), cross, visible=memory.visible)
        return scores

    def start(self, memory: PointerMemory, max_length: int) -> RecurrentState:  # noqa: ARG002 - any length
        """See `Pointer.start`."""
        layout = RowLayout.even(memory.states.size(0), 1)
        cross = self.pointer.project_memory(memory.states)
        return RecurrentState(cross, memory.visible, self._first(memory.states), None, layout)

    def step(self, token: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """See `Pointer.step`."""
        layout = state.layout
        read = layout.flat(_pointed_at(state.memory[1], layout.grid(token)))  # (rows, width)
        hidden = self.decoder.step(self.decoder.gates(read), state.hidden)
        query = layout.grid(self.dropout(hidden[-1][0]))  # (sentences, hypotheses, width)
        scores: Tensor = layout.flat(self.pointer(query, state.memory, visible=state.visible))
        return scores, RecurrentState(state.memory, state.visible, hidden, None, layout)

    def _first(self, states: Tensor) -> Hidden:
        """The hidden states before the mark is read: zeros."""
        zeros = states.new_zeros(states.size(0), self.config.width, dtype=self.pointer.score.dtype)
        return [(zeros,) * PARTS[self.config.cell]] * self.config.decoder_layers


def _pointed_at(states: Tensor, positions: Tensor) -> Tensor:
    """The states (batch, answer, width) at positions (batch, answer) of states (batch, 1 + source, width)."""
    return states.gather(1, positions[..., None].expand(-1, -1, states.size(2)))


def _layers(config: PointerConfig) -> list[EncoderLayer]:
    return [
        EncoderLayer(
            config.blocks,
            positions=attention_positions(
                config.positions, heads=config.heads, head_width=config.width // config.heads, causal=False
            ),
        )
        for _ in range(config.layers)
    ]
