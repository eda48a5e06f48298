"""Blocks of a Transformer as C reads them: flat, packed weights, and whole sequences sent through them."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saccade.native.library import kernels, library
from saccade.native.linear import CLinear, PackedLinear, pack
from saccade.native.quantise import Precision
from saccade.nn.embedding import Embedding
from saccade.nn.layers import DecoderLayer, EncoderLayer
from saccade.nn.nonautoregressive import NonAutoregressiveDecoderLayer, PositionalAttention

_LANES = 16
_ACTIVATIONS = {"relu": 0, "gelu": 1, "silu": 2}
_SEES = {"all": 0, "others": 1, "past": 2}


class _CNorm(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("epsilon", ctypes.c_float)]


class _CLayer(ctypes.Structure):
    _fields_ = [
        *(
            (name, CLinear)
            for name in (
                "query_key_value",
                "self_output",
                "place_value",
                "place_output",
                "cross_query",
                "cross_output",
                "inner",
                "outer",
            )
        ),
        *((name, _CNorm) for name in ("self_norm", "place_norm", "cross_norm", "feed_forward_norm")),
        ("window", ctypes.c_int64),
        ("places", ctypes.c_void_p),
    ]


class CStack(ctypes.Structure):
    """`Stack` of stack.h."""

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


class _CSequences(ctypes.Structure):
    _fields_ = [
        ("batch", ctypes.c_int64),
        ("longest", ctypes.c_int64),
        ("sees", ctypes.c_int64),
        ("lengths", ctypes.c_void_p),
        ("tokens", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("sentences", ctypes.c_int64),
        ("memory_longest", ctypes.c_int64),
        ("memory", ctypes.c_void_p),
        ("memory_lengths", ctypes.c_void_p),
        ("sentence", ctypes.c_void_p),
    ]


def why_not_packed(weight: Tensor, *, head_width: int, feed_forward: int) -> str | None:
    """Why blocks of these sizes can't be packed here; None where they can. weight: any of theirs."""
    if any(size % _LANES for size in (head_width, feed_forward)):
        return f"head width and feed_forward are not multiples of {_LANES}"
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return "its weights are not float32 on a CPU"
    return "there are no compiled kernels here" if library() is None else None


@dataclass(frozen=True)
class Memory:
    """What an encoder read: keys and values (layers, sentences, longest, 2, width) of each decoder layer, and
    lengths (sentences,). sentence (rows,), int32: whose memory each row attends to."""

    states: Tensor
    lengths: Tensor
    sentence: Tensor

    def select(self, rows: Tensor) -> "Memory":
        """For these of the rows; what was read stays where it is."""
        return Memory(self.states, self.lengths, self.sentence[rows])


class PackedStack:
    """Layers, norm at the end, and embedding where C looks tokens up; all but the embedding are copies."""

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        config: Any,
        final: nn.Module,
        precision: Precision,
        embedding: Embedding | None = None,
    ) -> None:
        """config: of the network, for width, heads, feed_forward, activation and norm."""
        self.width: int = config.width
        self._kept: list[Any] = []  # what C points to
        self._tables: list[Tensor] = []  # the same, as long as it is long enough
        self._precision, self._embedded = precision, embedding is not None
        self._positional: list[PositionalAttention] = []
        self._cross: list[PackedLinear] = []
        packed = [self._layer(layer) for layer in layers]
        self._layers = (_CLayer * len(packed))(*packed)
        table = None if embedding is None else self._keep(embedding.tokens.weight)
        self.call = CStack(
            width=config.width,
            heads=config.heads,
            feed_forward=config.feed_forward,
            count=len(packed),
            layers=self._layers,
            embedding=None if table is None else table.data_ptr(),
            positions=None,
            final=self._norm(final),
            scale=1.0 if embedding is None else embedding.scale,
            pre=config.norm == "pre",
            activation=_ACTIVATIONS[config.activation],
        )
        self._positions = 0

    def reach(self, length: int, positions: nn.Module | None) -> None:
        """See that tables made of `positions` cover so many of them; None: there are none."""
        if length <= self._positions or positions is None:
            return
        with torch.no_grad():
            rows = positions(torch.zeros(1, length, self.width), start=0)[0].float().contiguous()
            places = [attention.query_key(rows).contiguous() for attention in self._positional]
        if self._embedded:
            self.call.positions = rows.data_ptr()
        for layer, found in zip(self._layers, places, strict=False):
            layer.places = found.data_ptr()
        self._tables = [rows, *places]
        self._positions = length

    def through(
        self,
        x: Tensor,
        lengths: Tensor,
        *,
        sees: Literal["all", "others", "past"] = "all",
        memory: Memory | None = None,
    ) -> Tensor:
        """x: ids (batch, longest) or inputs (batch, longest, width); lengths (batch,).

        sees: whom a position's self-attention sees. Returns (batch, longest, width), 0 at padding.
        """
        batch, longest = x.shape[:2]
        x = x.contiguous() if x.dtype == torch.int64 else x.float().contiguous()
        lengths = lengths.to(torch.int64).contiguous()
        out = torch.zeros(batch, longest, self.width)
        call = _CSequences(
            batch=batch, longest=longest, sees=_SEES[sees], lengths=lengths.data_ptr(), out=out.data_ptr()
        )
        if x.dtype == torch.int64:
            call.tokens = x.data_ptr()
        else:
            call.x = x.data_ptr()
        if memory is not None:
            call.sentences, call.memory_longest = memory.states.shape[1:3]
            call.memory, call.memory_lengths = memory.states.data_ptr(), memory.lengths.data_ptr()
            call.sentence = memory.sentence.data_ptr()
        kernels().sequences_through(ctypes.byref(self.call), ctypes.byref(call))
        return out

    def remember(self, states: Tensor, lengths: Tensor) -> Memory:
        """What these layers need of an encoder's states (batch, source, width), computed once."""
        batch, longest, _ = states.shape
        memory = torch.empty(len(self._cross), batch, longest, 2, self.width)
        states, lengths = states.contiguous(), lengths.to(torch.int64).contiguous()
        for layer, out in zip(self._cross, memory, strict=True):
            layer.into(out, states, lengths)
        return Memory(memory, lengths, torch.arange(batch, dtype=torch.int32))

    def _layer(self, layer: nn.Module) -> _CLayer:
        assert isinstance(layer, EncoderLayer | DecoderLayer | NonAutoregressiveDecoderLayer)
        packed = _CLayer(
            query_key_value=self._linear(layer.self_attention.query_key_value),
            self_output=self._linear(layer.self_attention.output),
            inner=self._linear(layer.feed_forward.inner),
            outer=self._linear(layer.feed_forward.outer),
            self_norm=self._norm(layer.self_attention_residual.norm),
            feed_forward_norm=self._norm(layer.feed_forward_residual.norm),
            window=layer.self_attention.window or 0,
        )
        if not isinstance(layer, EncoderLayer):
            packed.cross_query = self._linear(layer.cross_attention.query)
            remembers = layer.cross_attention.key_value
            self._cross.append(pack(remembers.weight, remembers.bias, precision=self._precision))
            packed.cross_output = self._linear(layer.cross_attention.output)
            packed.cross_norm = self._norm(layer.cross_attention_residual.norm)
        if isinstance(layer, NonAutoregressiveDecoderLayer) and layer.positional_attention is not None:
            assert layer.positional_attention_residual is not None
            packed.place_value = self._linear(layer.positional_attention.value)
            packed.place_output = self._linear(layer.positional_attention.output)
            packed.place_norm = self._norm(layer.positional_attention_residual.norm)
            self._positional.append(layer.positional_attention)
        return packed

    def _linear(self, layer: nn.Linear) -> CLinear:
        packed: PackedLinear = pack(layer.weight, layer.bias, precision=self._precision)
        self._kept.append(packed)
        return packed.call

    def _norm(self, norm: nn.Module) -> _CNorm:
        if not isinstance(norm, nn.LayerNorm):
            return _CNorm(None, None, 0.0)
        weight, bias = self._copy(norm.weight), self._copy(norm.bias)
        return _CNorm(weight.data_ptr(), bias.data_ptr(), norm.eps)

    def _keep(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return tensor

    def _copy(self, tensor: Tensor) -> Tensor:
        return self._keep(tensor.clone())
