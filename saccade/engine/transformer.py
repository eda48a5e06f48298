"""A trained Transformer as flat, packed weights: one call into C for the encoder, one for each step.

It replaces the model in search, behind the same `start`, `step` and `State`, and its results differ from the
model's by rounding alone. Two things make it faster: threads divide the rows and never wait for each other,
and hypotheses are never copied, because each keeps a list of the rows that were its past.
"""

import ctypes
from array import array
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.engine.packed import Memory, PackedStack, why_not_packed
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerSettings
from saccade.native.library import kernels
from saccade.native.linear import pack
from saccade.native.structs import CStep
from saccade.nn.rows import Rows
from saccade.quantisation import Precision

_ROOM = 64  # positions to begin with
_PIECE = 1 << 16  # numbers, a quarter of a megabyte


def unsupported_reason(network: Transformer) -> str | None:
    """Why the engine can't stand in for this network; None where it can."""
    config = network.config
    if config.copying:
        return "it copies from the source"
    if config.positions not in {"sinusoidal", "learned", "none"}:
        return "its positions act inside attention"
    return why_not_packed(
        network.output.weight, head_width=config.head_width, feed_forward=config.feed_forward
    )


class Past:
    """Keys and values of each position, (layers, rows then, 2, width), and where C finds them.

    Memory is allocated for several positions at once. Small pieces that stay would otherwise lie between
    those that grow with each token and are allocated again each time, and the gaps could never be used.
    """

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []  # of each position
        self._used = 0  # positions of the last piece
        self.pointers, self.rows = array("q"), array("q")

    def add(self, layers: int, rows: int, width: int) -> None:
        """Room for one more position."""
        if self.rows and self.rows[-1] == rows and self._used < len(self._pieces[-1]):
            piece = self._pieces[-1]
        else:
            each = layers * rows * 2 * width
            piece, self._used = torch.empty(max(1, _PIECE // each), layers, rows, 2, width), 0
        self._pieces.append(piece)
        self.pointers.append(piece[self._used].data_ptr())
        self.rows.append(rows)
        self._used += 1

    def drop(self, positions: int) -> None:
        """Let the first positions go, which no row looks at any more."""
        for kept in (self._pieces, self.pointers, self.rows):
            del kept[:positions]


@dataclass
class EngineState:
    """Per hypothesis: its memory, and the rows of its past. What they point to is never moved.

    ancestors (rows, room for positions), int32; `past` grows in place. begun (rows,), int32: the position of
    each row's first token; None: 0 for all.
    """

    memory: Memory
    ancestors: Tensor
    past: Past = field(default_factory=Past)
    begun: Tensor | None = None

    def select(self, rows: Rows) -> "EngineState":
        """See `State.select`: only the lists of rows move."""
        index = rows.index
        begun = None if self.begun is None else self.begun[index]
        return EngineState(self.memory.select(index), self.ancestors[index], self.past, begun)

    def join(self, fresh: "EngineState") -> "EngineState":
        """See `State.join`. What only sentences looked at that are gone is dropped."""
        rows, new = self.ancestors.size(0), fresh.ancestors.size(0)
        begun = torch.zeros(rows, dtype=torch.int32) if self.begun is None else self.begun
        gone = int(begun.min())
        self.past.drop(gone)
        begun = torch.cat([begun - gone, torch.full((new,), len(self.past.rows), dtype=torch.int32)])
        ancestors = pad(self.ancestors[:, gone:], (0, gone, 0, new))
        return EngineState(_joined(self.memory, fresh.memory), ancestors, self.past, begun)


def _joined(first: Memory, second: Memory) -> Memory:
    """What the rows of both attend to, padded to one length, without sentences that have no row any more."""
    parts = []
    for memory in (first, second):
        kept, sentence = memory.sentence.unique(return_inverse=True)
        lengths = memory.lengths[kept]
        parts.append((memory.states[:, kept, : int(lengths.max())], lengths, sentence.to(torch.int32)))
    longest = max(states.size(2) for states, *_ in parts)
    states = torch.cat([pad(states, (0, 0, 0, 0, 0, longest - states.size(2))) for states, *_ in parts], 1)
    sentences = torch.cat([parts[0][2], parts[1][2] + len(parts[0][1])])
    return Memory(states, torch.cat([parts[0][1], parts[1][1]]), sentences)


class TransformerEngine:
    """Stands in for a Transformer in search. The weights are a copy: later training does not reach it."""

    joins = concurrent = True

    def __init__(self, network: Transformer, *, precision: Precision = "float32") -> None:
        self.vocabulary: Vocabulary = network.vocabulary
        self.max_source_length, self.max_target_length = network.max_source_length, network.max_target_length
        self.config: TransformerSettings = network.config
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
            state.ancestors = pad(state.ancestors, (0, room))
            room *= 2
        logits = torch.empty(rows, self.vocabulary.target_size)
        token = token.to(torch.int64).contiguous()
        oldest = 0 if state.begun is None else int(state.begun.min())
        tables = self._decoder.position_tables(position - oldest + 1)
        call = CStep(
            rows=rows,
            position=position,
            longest=memory.states.size(2),
            batch=memory.states.size(1),
            room=room,
            tokens=token.data_ptr(),
            begun=None if state.begun is None else state.begun.data_ptr(),
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
