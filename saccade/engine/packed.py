"""Blocks of a Transformer as C reads them: flat, packed weights, and whole sequences sent through them."""

import ctypes
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from saccade.native.fork import BUILDING
from saccade.native.library import kernels, library
from saccade.native.linear import PackedLinear, pack
from saccade.native.structs import CLayer, CLayerNorm, CLinear, CSequences, CStack
from saccade.nn.embedding import Embedding
from saccade.nn.layers import DecoderLayer, EncoderLayer, FeedForward
from saccade.nn.nonautoregressive import NonAutoregressiveDecoderLayer
from saccade.nn.positions import LearnedPositions
from saccade.quantisation import Precision

_LANES = 16
_ACTIVATIONS = {"relu": 0, "gelu": 1, "silu": 2}
_MASKS = {"none": 0, "diagonal": 1, "future": 2}
_ROOM = 256  # positions to begin with
_UNLIMITED = 1 << 62  # positions of tables that hold nothing


def why_not_packed(weight: Tensor, *, head_width: int, feed_forward: int) -> str | None:
    """Why blocks of these sizes can't be packed here; None where they can. weight: any of theirs."""
    if any(size % _LANES for size in (head_width, feed_forward)):
        return f"head width and feed_forward are not multiples of {_LANES}"
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return "its weights are not float32 on a CPU"
    return "there are no compiled kernels here" if library() is None else None


@dataclass(frozen=True)
class Memory:
    """Cross-attention's keys and values (layers, sentences, longest, 2, width) of each decoder layer, and the
    sentences' lengths (sentences,). sentence (rows,), int32: whose memory each row attends to."""

    states: Tensor
    lengths: Tensor
    sentence: Tensor

    def select(self, rows: Tensor) -> "Memory":
        """Selects rows; keys and values stay where they are."""
        return Memory(self.states, self.lengths, self.sentence[rows])


@dataclass(frozen=True)
class PositionTables:
    """What depends on positions alone, for the first `length` of them. It is never changed: a longer one
    takes its place, and calls that are under way keep the one they began with.

    rows (length, width): added to embeddings. query_key (layers, length, 2, width): queries and keys of
    attention between positions. Each is None if the stack does not use it.
    """

    length: int
    rows: Tensor | None = None
    query_key: Tensor | None = None


class PackedStack:
    """Layers, the norm at the end, and the embedding if C looks tokens up; all but the embedding are copies.

    Threads may share one: it is only read, except that tables of positions are replaced as a whole.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        config: Any,
        final: nn.Module,
        precision: Precision,
        embedding: Embedding | None = None,
        positions: nn.Module | None = None,
    ) -> None:
        """config: of the network, for width, heads, feed_forward, activation and norm. positions: adds them
        to (batch, length, width); None: there are none."""
        self.width: int = config.width
        self._kept: list[Any] = []  # what C points to
        self._precision: Precision = precision
        self._positions, self._embedded = positions, embedding is not None
        self._positional: list[Callable[[Tensor], Tensor]] = []
        self._cross: list[PackedLinear] = []
        packed = [self._layer(layer) for layer in layers]
        self._layers = (CLayer * len(packed))(*packed)
        table = None if embedding is None else self._keep(embedding.tokens.weight)
        self.struct = CStack(
            width=config.width,
            heads=config.heads,
            feed_forward=config.feed_forward,
            count=len(packed),
            layers=self._layers,
            embedding=None if table is None else table.data_ptr(),
            vocabulary=0 if table is None else table.size(0),
            final=self._norm(final),
            scale=1.0 if embedding is None else embedding.scale,
            pre_norm=config.norm == "pre",
            activation=_ACTIVATIONS[config.activation],
        )
        self._tables = self._make_tables(0)

    def position_tables(self, length: int) -> PositionTables:
        """Tables for at least `length` positions. Raises ValueError beyond the model's learned positions."""
        tables = self._tables
        if length <= tables.length:
            return tables
        with BUILDING:
            if length > self._tables.length:
                self._tables = self._make_tables(length)
            return self._tables

    def run(
        self,
        x: Tensor,
        lengths: Tensor,
        *,
        mask: Literal["none", "diagonal", "future"] = "none",
        memory: Memory | None = None,
    ) -> Tensor:
        """x: ids (batch, longest) or inputs (batch, longest, width); lengths (batch,).

        mask: what a position's self-attention may not look at: nothing is hidden, itself, or what comes
        later. Returns (batch, longest, width), 0 at padding. Raises IndexError for ids out of range.
        """
        batch, longest = x.shape[:2]
        x = x.contiguous() if x.dtype == torch.int64 else x.float().contiguous()
        lengths = lengths.to(torch.int64).contiguous()
        out = torch.zeros(batch, longest, self.width)
        tables = self.position_tables(longest)
        call = CSequences(
            batch=batch,
            longest=longest,
            mask=_MASKS[mask],
            lengths=lengths.data_ptr(),
            out=out.data_ptr(),
            table_length=tables.length,
            positions=_address(tables.rows),
            positional=_address(tables.query_key),
        )
        if x.dtype == torch.int64:
            call.tokens = x.data_ptr()
        else:
            call.x = x.data_ptr()
        if memory is not None:
            call.sentences, call.memory_longest = memory.states.shape[1:3]
            call.memory, call.memory_lengths = memory.states.data_ptr(), memory.lengths.data_ptr()
            call.sentence = memory.sentence.data_ptr()
        kernels().sequences_forward(ctypes.byref(self.struct), ctypes.byref(call))
        return out

    def project_memory(self, states: Tensor, lengths: Tensor) -> Memory:
        """Keys and values of these layers' cross-attention for an encoder's states (batch, source, width)."""
        batch, longest, _ = states.shape
        memory = torch.empty(len(self._cross), batch, longest, 2, self.width)
        states, lengths = states.contiguous(), lengths.to(torch.int64).contiguous()
        for layer, out in zip(self._cross, memory, strict=True):
            layer.into(out, states, lengths)
        return Memory(memory, lengths, torch.arange(batch, dtype=torch.int32))

    def _make_tables(self, length: int) -> PositionTables:
        """At least `length` positions, and room for some more; learned ones are there from the beginning."""
        if self._positions is None or not (self._embedded or self._positional):
            return PositionTables(_UNLIMITED)
        room = max(_ROOM, 2 ** (length - 1).bit_length())
        if isinstance(self._positions, LearnedPositions):
            room = max(length, self._positions.table.size(0))
        with torch.inference_mode():
            rows = self._positions(torch.zeros(1, room, self.width), start=0)[0].float().contiguous()
            query_key = [project(rows).view(room, 2, self.width) for project in self._positional]
        return PositionTables(
            room, rows if self._embedded else None, torch.stack(query_key) if query_key else None
        )

    def _layer(self, layer: nn.Module) -> CLayer:
        assert isinstance(layer, EncoderLayer | DecoderLayer | NonAutoregressiveDecoderLayer)
        feed_forward = cast(FeedForward, layer.feed_forward)  # a model with another one has no engine
        packed = CLayer(
            query_key_value=self._linear(layer.self_attention.query_key_value),
            self_output=self._linear(layer.self_attention.output),
            inner=self._linear(feed_forward.inner),
            outer=self._linear(feed_forward.outer),
            self_norm=self._norm(layer.self_attention_residual.norm),
            feed_forward_norm=self._norm(layer.feed_forward_residual.norm),
            window=layer.self_attention.window or 0,
        )
        if not isinstance(layer, EncoderLayer):
            packed.cross_query = self._linear(layer.cross_attention.query)
            key_value = layer.cross_attention.key_value
            self._cross.append(pack(key_value.weight, key_value.bias, precision=self._precision))
            packed.cross_output = self._linear(layer.cross_attention.output)
            packed.cross_norm = self._norm(layer.cross_attention_residual.norm)
        if isinstance(layer, NonAutoregressiveDecoderLayer) and layer.positional_attention is not None:
            assert layer.positional_attention_residual is not None
            packed.positional_value = self._linear(layer.positional_attention.value)
            packed.positional_output = self._linear(layer.positional_attention.output)
            packed.positional_norm = self._norm(layer.positional_attention_residual.norm)
            # Like all weights, a copy; it is used again whenever the tables grow.
            self._positional.append(deepcopy(layer.positional_attention.query_key).eval())
        return packed

    def _linear(self, layer: nn.Linear) -> CLinear:
        packed = pack(layer.weight, layer.bias, precision=self._precision)
        self._kept.append(packed)
        return packed.struct

    def _norm(self, norm: nn.Module) -> CLayerNorm:
        if not isinstance(norm, nn.LayerNorm):
            return CLayerNorm(None, None, 0.0)
        weight, bias = self._copy(norm.weight), self._copy(norm.bias)
        return CLayerNorm(weight.data_ptr(), bias.data_ptr(), norm.eps)

    def _keep(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return tensor

    def _copy(self, tensor: Tensor) -> Tensor:
        return self._keep(tensor.clone())


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
