"""Recording of the attention weights of any model, by hooks that ask each attention module for its weights.

Modules keep no state and the forward pass is unchanged; the weights are computed in addition to it.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from saccade.nn.recorded import AttentionKind, AttentionModule

__all__ = [
    "AttentionKind",
    "AttentionMap",
    "cross_attention",
    "cross_maps",
    "head_weights",
    "labelled",
    "record_attention",
]


@dataclass(frozen=True)
class AttentionMap:
    """The attention weights of one module.

    kind: see `AttentionKind`; layer: its number among the modules of its kind, from 1 at the bottom; weights:
    (batch, heads, query, key), or without batch for a single sentence, with rows that sum to 1; queries,
    keys: the pieces along the last two axes, empty if unknown.
    """

    kind: AttentionKind
    layer: int
    weights: Tensor
    queries: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def heads(self) -> int:
        """The number of attention heads."""
        return self.weights.size(-3)


def labelled(one: AttentionMap, sides: Mapping[str, Sequence[str]]) -> AttentionMap:
    """The map of a single sentence, on the CPU, with the pieces along its axes.

    sides: the pieces of "source" and "target".
    """
    weights = one.weights[0].cpu()  # (heads, query, key)
    axes = zip(_AXES[one.kind], weights.shape[1:], strict=True)
    queries, keys = (_pieces_of(sides, side, size) for side, size in axes)
    return replace(one, weights=weights, queries=queries, keys=keys)


def _pieces_of(sides: Mapping[str, Sequence[str]], side: str, size: int) -> tuple[str, ...]:
    """The pieces along an axis; none if the model's positions are not these pieces."""
    pieces = tuple(sides[side])
    return pieces if len(pieces) == size else ()


_AXES: dict[AttentionKind, tuple[str, str]] = {
    "encoder": ("source", "source"),
    "decoder": ("target", "target"),
    "cross": ("target", "source"),
    "positional": ("target", "target"),
}


@contextlib.contextmanager
def record_attention(network: nn.Module) -> Iterator[dict[str, AttentionMap]]:
    """Records the maps of all attention modules, by module name, during forward passes within the block.

    A module that is called several times, as in a recurrent decoder, gives one map whose queries are its
    calls, in order. Put the network into evaluation mode first: rows sum to 1 without dropout only.
    """
    maps: dict[str, AttentionMap] = {}
    numbers: Counter[AttentionKind] = Counter()
    owner = threading.get_ident()

    def hook(name: str, kind: AttentionKind, layer: int) -> Any:
        def keep(module: AttentionModule, args: Any, kwargs: Any, _: Any) -> None:
            if threading.get_ident() != owner:  # other threads may be using the model
                return
            with torch.no_grad():
                weights = module.weights(*args, **kwargs)
            if name in maps:
                maps[name] = replace(maps[name], weights=torch.cat([maps[name].weights, weights], 2))
            else:
                maps[name] = AttentionMap(kind, layer, weights)

        return keep

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, AttentionModule):
            numbers[module.kind] += 1
            keep = hook(name, module.kind, numbers[module.kind])
            handles.append(module.register_forward_hook(keep, with_kwargs=True))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def cross_maps(maps: Iterable[AttentionMap]) -> list[AttentionMap]:
    """Those of the maps whose attention goes from the target to the source, the lowest layer first."""
    return sorted((one for one in maps if one.kind == "cross"), key=lambda one: one.layer)


def cross_attention(network: nn.Module) -> list[AttentionModule]:
    """The modules that attend from the target to the source, the lowest layer first."""
    return [
        module
        for module in network.modules()
        if isinstance(module, AttentionModule) and module.kind == "cross"
    ]


@contextlib.contextmanager
def head_weights(module: AttentionModule, head: int) -> Iterator[list[Tensor]]:
    """Collects the weights (batch, queries, key) of one head, from 0, in each call within the block.

    Unlike those of `record_attention` they have a gradient. They are computed in float32, under autocast too.
    """
    found: list[Tensor] = []

    def keep(module: AttentionModule, args: Any, kwargs: Any, output: Tensor) -> None:
        with torch.autocast(output.device.type, enabled=False):
            widened = tree_map_only(Tensor, _widened, (args, kwargs))
            found.append(module.weights(*widened[0], **widened[1])[:, head])

    handle = module.register_forward_hook(keep, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
