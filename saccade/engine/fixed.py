"""A Transformer whose decoding step has fixed sizes, for GPUs, in the precision that was asked for."""

import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from saccade.models.interface import FixedDecoder
from saccade.models.transformer import Memory, Transformer, TransformerState
from saccade.nn.attention import KeyValue
from saccade.nn.fixed_cache import Ancestry, FixedCache
from saccade.nn.masks import padding_mask
from saccade.nn.rows import RowLayout


def unsupported_reason(network: Transformer) -> str | None:
    """Why a step of this network cannot have fixed sizes; None if it can."""
    if network.config.copying:
        return "it copies from the source"
    if network.config.positions in {"relative", "alibi"}:
        return "its positions are a bias of attention"
    return None


@dataclass
class FixedState:
    """A decoding state of fixed size.

    Per sentence: cross-attention keys and values and their mask. Per hypothesis: each layer's past.
    """

    memory: list[KeyValue]
    visible: Tensor
    past: list[FixedCache]
    ancestry: Ancestry
    layout: RowLayout

    def tensors(self) -> list[Tensor]:
        """All tensors whose first axis is the sentences."""
        pasts = [tensor for cache in self.past for tensor in (cache.keys, cache.values)]
        return [*sum(self.memory, ()), self.visible, *pasts, self.ancestry.ancestors]


class FixedTransformer(FixedDecoder):
    """Stands in for a Transformer in search. dtype: of weights and products, if not float32, in a copy."""

    joins = True

    def __init__(self, network: Transformer, *, dtype: torch.dtype = torch.float32) -> None:
        self.network = network if dtype == torch.float32 else copy.deepcopy(network).to(dtype)
        self.vocabulary = network.vocabulary
        self.max_source_length, self.max_target_length = network.max_source_length, network.max_target_length

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        return self.network.encode(source, source_lengths)

    def start(self, memory: Memory, max_length: int) -> TransformerState:
        """See `Seq2Seq.start`."""
        return self.network.start(memory, max_length)

    def step(self, token: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """See `Seq2Seq.step`."""
        return self.network.step(token, state)

    def empty(self, sentences: int, hypotheses: int, columns: int, source: int) -> FixedState:
        """See `FixedDecoder.empty`."""
        config, like = self.network.config, self.network.output.weight
        cast(Any, self.network.target_embedding.positions).reserve(columns)
        ancestry = Ancestry.empty(sentences, hypotheses, columns, device=like.device)
        shape = (sentences, config.heads, source, config.head_width)
        past = []
        for layer in self.network.decoder_layers:
            past.append(FixedCache.empty(ancestry, config.heads, config.head_width, like=like))
            layer.self_attention.positions.reserve(columns)
        return FixedState(
            memory=[(like.new_zeros(shape), like.new_zeros(shape)) for _ in past],
            visible=torch.ones(sentences, 1, 1, source, dtype=torch.bool, device=like.device),
            past=past,
            ancestry=ancestry,
            layout=RowLayout.even(sentences, hypotheses),
        )

    def fill(self, state: FixedState, source: Tensor, source_lengths: Tensor) -> None:
        """See `FixedDecoder.fill`."""
        states = self.network.encode(source, source_lengths).states
        for layer, memory in zip(self.network.decoder_layers, state.memory, strict=True):
            for own, found in zip(memory, layer.cross_attention.project_memory(states), strict=True):
                own.copy_(found)
        mask = padding_mask(source_lengths, source.size(1))
        state.visible.fill_(True) if mask is None else state.visible.copy_(mask)
        state.ancestry.step.zero_()

    def fixed_step(self, token: Tensor, state: FixedState) -> Tensor:
        """See `FixedDecoder.fixed_step`."""
        network, layout = self.network, state.layout
        state.ancestry.begin()
        x = network.target_embedding(token[:, None], start=state.ancestry.step)[:, 0]  # (rows, width)
        for layer, memory, cache in zip(network.decoder_layers, state.memory, state.past, strict=True):
            x = layer.step_fixed(x, memory, visible=state.visible, cache=cache, layout=layout)
        logits: Tensor = network.output(network.decoder_norm(x))
        return logits
