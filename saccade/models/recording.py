"""Record the attention weights of any model: hooks ask each attention module for its weights.

Nothing is kept on modules and the forward pass runs as always; the weights are computed beside it.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models.interface import Attending


@contextlib.contextmanager
def record_attention(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within the block each forward pass adds module name -> weights (batch, heads, query, key).

    A module called several times, as in a recurrent decoder, gives one map: its calls are its
    queries, in order. Rows sum to 1; put the network into evaluation mode first.
    """
    maps: dict[str, Tensor] = {}
    owner = threading.get_ident()

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: Any, kwargs: Any, _: Any) -> None:
            if threading.get_ident() != owner:  # the model may serve other threads meanwhile
                return
            assert isinstance(module, Attending)
            with torch.no_grad():
                weights = module.weights(*args, **kwargs)
            maps[name] = torch.cat([maps[name], weights], 2) if name in maps else weights

        return keep

    handles = [
        module.register_forward_hook(hook(name), with_kwargs=True)
        for name, module in network.named_modules()
        if _attends(module)
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _attends(module: nn.Module) -> bool:
    return isinstance(module, Attending)
