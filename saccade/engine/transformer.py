"""A trained Transformer as flat, packed weights: one call into C for the encoder, one for each step.

It stands in for the model in search, behind the same `start`, `step` and `State`, and gives what the
model gives but for rounding. Two things make it lighter than the model: threads share out rows and never
wait for each other, and hypotheses are never copied: each keeps a list of the rows that were its past.
"""

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.models.interface import Seq2Seq, Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.native.library import kernels, library
from saccade.native.linear import CLinear, PackedLinear, pack
from saccade.native.quantise import Precision
from saccade.nn.embedding import Embedding
from saccade.nn.layers import DecoderLayer, EncoderLayer

_LANES = 16
_ROOM = 64  # positions to begin with
_ACTIVATIONS = {"relu": 0, "gelu": 1, "silu": 2}


class _CNorm(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("epsilon", ctypes.c_float)]


class _CLayer(ctypes.Structure):
    _fields_ = [
        *(
            (name, CLinear)
            for name in (
                "query_key_value",
                "self_output",
                "cross_query",
                "cross_key_value",
                "cross_output",
                "inner",
                "outer",
            )
        ),
        *((name, _CNorm) for name in ("self_norm", "cross_norm", "feed_forward_norm")),
    ]


class _CStack(ctypes.Structure):
    _fields_ = [
        ("width", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("feed_forward", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("layers", ctypes.POINTER(_CLayer)),
        ("embedding", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("final", _CNorm),
        ("scale", ctypes.c_float),
        ("pre", ctypes.c_int32),
        ("activation", ctypes.c_int32),
    ]


class _CStep(ctypes.Structure):
    _fields_ = [
        ("rows", ctypes.c_int64),
        ("position", ctypes.c_int64),
        ("longest", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("tokens", ctypes.c_void_p),
        ("sentence", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("ancestors", ctypes.c_void_p),
        ("past", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
    ]


def why_slow(network: Seq2Seq) -> str | None:
    """Why the engine can't stand in for this network; None where it can."""
    if not isinstance(network, Transformer):
        return "it is not a Transformer"
    config = network.config
    if config.positions not in {"sinusoidal", "learned", "none"} or any(config.windows):
        return "its positions or windows act inside attention"
    if any(size % _LANES for size in (config.head_width, config.feed_forward)):
        return f"head width and feed_forward are not multiples of {_LANES}"
    weight = network.output.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return "its weights are not float32 on a CPU"
    return "there are no compiled kernels here" if library() is None else None


@dataclass(frozen=True)
class Memory:
    """What the encoder read: keys and values (layers, batch, longest, 2, width) of each decoder layer."""

    states: Tensor
    lengths: Tensor


class Past:
    """Keys and values of each position, (layers, rows then, 2, width), and where C finds them."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.pointers, self.rows = array("q"), array("q")

    def add(self, layers: int, rows: int, width: int) -> None:
        """Room for one more position."""
        self.tensors.append(torch.empty(layers, rows, 2, width))
        self.pointers.append(self.tensors[-1].data_ptr())
        self.rows.append(rows)


@dataclass
class EngineState:
    """Per sentence: the memory, never moved. Per hypothesis: its sentence, and the rows of its past.

    sentence (rows,) and ancestors (rows, room for positions), both int32; `past` grows in place.
    """

    memory: Memory
    sentence: Tensor
    ancestors: Tensor
    past: Past = field(default_factory=Past)

    def select(self, rows: Tensor) -> "EngineState":
        """See `State.select`: only the lists of rows move."""
        flat = rows.flatten()
        return EngineState(self.memory, self.sentence[flat], self.ancestors[flat], self.past)


class TransformerEngine:
    """Stands in for a Transformer in search. The weights are a copy: later training does not reach it."""

    def __init__(self, network: Transformer, *, precision: Precision = "float32") -> None:
        self.vocabulary: Vocabulary = network.vocabulary
        self.max_source_length, self.max_target_length = network.max_source_length, network.max_target_length
        self.config: TransformerConfig = network.config
        self._kept: list[Any] = []  # what C points to
        self._embeddings = network.source_embedding, network.target_embedding
        self._precision = precision
        self._encoder = self._stack(network.encoder, network.source_embedding, network.encoder_norm)
        self._decoder = self._stack(network.decoder, network.target_embedding, network.decoder_norm)
        self._output = self._linear(network.output)
        self._positions = [0, 0]

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        batch, longest = source.shape
        self._reach(0, longest)
        source, lengths = source.contiguous(), source_lengths.to(torch.int64).contiguous()
        memory = torch.empty(self.config.decoder_layers, batch, longest, 2, self.config.width)
        kernels().transformer_encode(
            ctypes.byref(self._encoder),
            ctypes.byref(self._decoder),
            ctypes.c_void_p(source.data_ptr()),
            ctypes.c_void_p(lengths.data_ptr()),
            ctypes.c_long(batch),
            ctypes.c_long(longest),
            ctypes.c_void_p(memory.data_ptr()),
        )
        return Memory(memory, lengths)

    def start(self, memory: Memory, max_length: int) -> EngineState:
        """See `Seq2Seq.start`."""
        self._reach(1, max_length)
        batch = memory.lengths.size(0)
        sentences = torch.arange(batch, dtype=torch.int32)
        return EngineState(memory, sentences, torch.empty(batch, _ROOM, dtype=torch.int32))

    def step(self, token: Tensor, state: EngineState) -> tuple[Tensor, EngineState]:
        """See `Seq2Seq.step`."""
        rows, memory, past = token.size(0), state.memory, state.past
        past.add(self.config.decoder_layers, rows, self.config.width)
        position, room = len(past.rows) - 1, state.ancestors.size(1)
        if position == room:
            state.ancestors = torch.nn.functional.pad(state.ancestors, (0, room))
            room *= 2
        logits = torch.empty(rows, self.vocabulary.target_size)
        token = token.contiguous()
        call = _CStep(
            rows=rows,
            position=position,
            longest=memory.states.size(2),
            batch=memory.states.size(1),
            room=room,
            tokens=token.data_ptr(),
            sentence=state.sentence.data_ptr(),
            lengths=memory.lengths.data_ptr(),
            memory=memory.states.data_ptr(),
            ancestors=state.ancestors.data_ptr(),
            past=past.pointers.buffer_info()[0],
            slots=past.rows.buffer_info()[0],
            logits=logits.data_ptr(),
        )
        kernels().transformer_step(
            ctypes.byref(self._decoder), ctypes.byref(self._output), ctypes.byref(call)
        )
        return logits, state

    def _stack(self, layers: nn.Module, embedding: Embedding, final: nn.Module) -> _CStack:
        config = self.config
        packed = [self._layer(layer) for layer in cast(Sequence[EncoderLayer | DecoderLayer], layers)]
        table = self._keep(embedding.tokens.weight.detach().float().contiguous())
        return _CStack(
            width=config.width,
            heads=config.heads,
            feed_forward=config.feed_forward,
            count=len(packed),
            layers=(_CLayer * len(packed))(*packed),
            embedding=table.data_ptr(),
            positions=None,
            final=self._norm(final),
            scale=embedding.scale,
            pre=config.norm == "pre",
            activation=_ACTIVATIONS[config.activation],
        )

    def _layer(self, layer: EncoderLayer | DecoderLayer) -> _CLayer:
        packed = _CLayer(
            query_key_value=self._linear(layer.self_attention.query_key_value),
            self_output=self._linear(layer.self_attention.output),
            inner=self._linear(layer.feed_forward.inner),
            outer=self._linear(layer.feed_forward.outer),
            self_norm=self._norm(layer.around_self.norm),
            feed_forward_norm=self._norm(layer.around_feed_forward.norm),
        )
        if isinstance(layer, DecoderLayer):
            packed.cross_query = self._linear(layer.cross_attention.query)
            packed.cross_key_value = self._linear(layer.cross_attention.key_value)
            packed.cross_output = self._linear(layer.cross_attention.output)
            packed.cross_norm = self._norm(layer.around_cross.norm)
        return packed

    def _linear(self, layer: nn.Linear) -> CLinear:
        packed: PackedLinear = pack(layer.weight, layer.bias, precision=self._precision)
        self._kept.append(packed)
        return packed.call()

    def _norm(self, norm: nn.Module) -> _CNorm:
        if not isinstance(norm, nn.LayerNorm):
            return _CNorm(None, None, 0.0)
        weight, bias = (self._keep(x.detach().float().contiguous()) for x in (norm.weight, norm.bias))
        return _CNorm(weight.data_ptr(), bias.data_ptr(), norm.eps)

    def _reach(self, side: int, length: int) -> None:
        """See that the table of positions, encoder 0 or decoder 1, covers `length` of them."""
        embedding, stack = self._embeddings[side], (self._encoder, self._decoder)[side]
        if length <= self._positions[side] or self.config.positions == "none":
            return
        with torch.no_grad():
            table = embedding.positions(torch.zeros(1, length, self.config.width), start=0)[0]
        stack.positions = self._keep(table.contiguous()).data_ptr()
        self._positions[side] = length

    def _keep(self, tensor: Tensor) -> Tensor:
        self._kept.append(tensor)
        return tensor
