"""A trained Transformer as flat, packed weights: one call into C for the encoder, one for each step.

It stands in for the model in search, behind the same `start`, `step` and `State`, and gives what the
model gives but for rounding. Two things make it lighter than the model: threads share out rows and never
wait for each other, and hypotheses are never copied: each keeps a list of the rows that were its past.
"""

import ctypes
from array import array
from dataclasses import dataclass, field

import torch
from torch import Tensor

from saccade.engine.packed import Memory, PackedStack, why_not_packed
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.native.library import kernels
from saccade.native.linear import pack
from saccade.native.structs import CStep
from saccade.quantisation import Precision

_ROOM = 64  # positions to begin with
_PIECE = 1 << 16  # numbers, a quarter of a megabyte


def unsupported_reason(network: Transformer) -> str | None:
    """Why the engine can't stand in for this network; None where it can."""
    config = network.config
    if config.positions not in {"sinusoidal", "learned", "none"}:
        return "its positions act inside attention"
    return why_not_packed(
        network.output.weight, head_width=config.head_width, feed_forward=config.feed_forward
    )


class Past:
    """Keys and values of each position, (layers, rows then, 2, width), and where C finds them.

    Made for several positions at once: small pieces that stay would lie between those that grow by a
    token a step and are made anew each time, and what these leave behind could never be used again.
    """

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []
        self._used = 0  # positions of the last piece
        self.pointers, self.rows = array("q"), array("q")

    def add(self, layers: int, rows: int, width: int) -> None:
        """Room for one more position."""
        if not self.rows or self.rows[-1] != rows or self._used == len(self._pieces[-1]):
            each = layers * rows * 2 * width
            self._pieces.append(torch.empty(max(1, _PIECE // each), layers, rows, 2, width))
            self._used = 0
        self.pointers.append(self._pieces[-1][self._used].data_ptr())
        self.rows.append(rows)
        self._used += 1


@dataclass
class EngineState:
    """Per hypothesis: its memory, and the rows of its past. What they point to is never moved.

    ancestors (rows, room for positions), int32; `past` grows in place.
    """

    memory: Memory
    ancestors: Tensor
    past: Past = field(default_factory=Past)

    def select(self, rows: Tensor) -> "EngineState":
        """See `State.select`: only the lists of rows move."""
        flat = rows.flatten()
        return EngineState(self.memory.select(flat), self.ancestors[flat], self.past)


class TransformerEngine:
    """Stands in for a Transformer in search. The weights are a copy: later training does not reach it."""

    def __init__(self, network: Transformer, *, precision: Precision = "float32") -> None:
        self.vocabulary: Vocabulary = network.vocabulary
        self.max_source_length, self.max_target_length = network.max_source_length, network.max_target_length
        self.config: TransformerConfig = network.config
        self.output = pack(network.output.weight, network.output.bias, precision=precision)
        sides = [
            (network.encoder.layers, network.encoder.norm, network.encoder.embedding),
            (network.decoder, network.decoder_norm, network.target_embedding),
        ]
        self._encoder, self._decoder = (
            PackedStack(
                layers,
                config=self.config,
                final=final,
                embedding=embedding,
                positions=None if self.config.positions == "none" else embedding.positions,
                precision=precision,
            )
            for layers, final, embedding in sides
        )

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        return self._decoder.project_memory(self._encoder.run(source, source_lengths), source_lengths)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`."""
        batch, length = target_in.shape
        return self._decoder.run(target_in, torch.full((batch,), length), mask="future", memory=memory)

    def start(self, memory: Memory, max_length: int) -> EngineState:
        """See `Seq2Seq.start`."""
        self._decoder.position_tables(max_length)  # grown at once, not while the target does
        rows = memory.sentence.size(0)
        return EngineState(memory, torch.empty(rows, _ROOM, dtype=torch.int32))

    def step(self, token: Tensor, state: EngineState) -> tuple[Tensor, EngineState]:
        """See `Seq2Seq.step`."""
        rows, memory, past = token.size(0), state.memory, state.past
        past.add(self.config.decoder_layers, rows, self.config.width)
        position, room = len(past.rows) - 1, state.ancestors.size(1)
        if position == room:
            state.ancestors = torch.nn.functional.pad(state.ancestors, (0, room))
            room *= 2
        logits = torch.empty(rows, self.vocabulary.target_size)
        token = token.to(torch.int64).contiguous()
        tables = self._decoder.position_tables(position + 1)
        call = CStep(
            rows=rows,
            position=position,
            longest=memory.states.size(2),
            batch=memory.states.size(1),
            room=room,
            tokens=token.data_ptr(),
            sentence=memory.sentence.data_ptr(),
            lengths=memory.lengths.data_ptr(),
            memory=memory.states.data_ptr(),
            ancestors=state.ancestors.data_ptr(),
            past=past.pointers.buffer_info()[0],
            past_rows=past.rows.buffer_info()[0],
            logits=logits.data_ptr(),
            table_length=tables.length,
            positions=None if tables.rows is None else tables.rows.data_ptr(),
        )
        kernels().transformer_step(
            ctypes.byref(self._decoder.struct), ctypes.byref(self.output.struct), ctypes.byref(call)
        )
        return logits, state
