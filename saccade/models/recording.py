"""Records the attention weights of any model: hooks ask each attention module for its weights.

Nothing is kept on modules and the forward pass runs as always; the weights are computed beside it.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saccade.nn.recorded import AttentionKind, AttentionModule

__all__ = ["AttentionKind", "AttentionMap", "record_attention"]


@dataclass(frozen=True)
class AttentionMap:
    """The attention weights of one module.

    kind: who attends to what; layer: its number among the modules of its kind, the lowest is 1; weights:
    (batch, heads, query, key), or without batch for a single sentence, rows summing to 1; queries, keys: the
    pieces along the last two axes, empty where they are not known.
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


@contextlib.contextmanager
def record_attention(network: nn.Module) -> Iterator[dict[str, AttentionMap]]:
    """Within the block each forward pass adds the maps of its attention modules, by module name.

    A module called several times, as in a recurrent decoder, gives one map: its calls are its
    queries, in order. Rows sum to 1; put the network into evaluation mode first.
    """
    maps: dict[str, AttentionMap] = {}
    numbers: Counter[AttentionKind] = Counter()
    owner = threading.get_ident()

    def hook(name: str, kind: AttentionKind, layer: int) -> Any:
        def keep(module: AttentionModule, args: Any, kwargs: Any, _: Any) -> None:
            if threading.get_ident() != owner:  # the model may serve other threads meanwhile
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
