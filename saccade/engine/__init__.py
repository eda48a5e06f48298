"""Trained models made ready for fast decoding; decoders drive them as they drive the models.

On a CPU their weights are packed for kernels in C. On a GPU they are cast to the precision asked for, and a
Transformer's step has fixed sizes, so that it can be replayed.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from saccade.engine import fixed, nonautoregressive, transformer
from saccade.engine.fixed import FixedTransformer
from saccade.engine.nonautoregressive import PackedBody
from saccade.engine.transformer import TransformerEngine
from saccade.errors import Unsupported
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.models.transformer import Transformer
from saccade.quantisation import RunPrecision

__all__ = ["ENGINES", "device_engine", "make_engine", "require_possible", "unsupported_reason"]

ENGINES: dict[type[nn.Module], tuple[Callable[..., Any], Callable[[Any], str | None]]] = {
    Transformer: (TransformerEngine, transformer.unsupported_reason),
    NonAutoregressiveTransformer: (PackedBody, nonautoregressive.unsupported_reason),
}
"""Network to its engine, and to what says why the engine does not support one of them."""


def unsupported_reason(network: nn.Module) -> str | None:
    """Why there is no engine for this network; None if there is one."""
    if type(network) not in ENGINES:
        return "it is neither a Transformer nor non-autoregressive"
    return ENGINES[type(network)][1](network)


def make_engine(network: nn.Module, *, precision: RunPrecision = "float32") -> Any:
    """What should be driven in the network's place: an engine, or the network itself if there is none.

    Raises UserError for int8 if there is no engine, because torch itself would only be slower with it, and
    for 16 bits anywhere but on a GPU.
    """
    require_possible(network, precision)
    if next(network.parameters()).device.type == "cuda" and precision != "int8":
        return device_engine(network, dtype=_SIXTEEN_BITS.get(precision, torch.float32))
    reason = unsupported_reason(network)
    if reason is None:
        return ENGINES[type(network)][0](network, precision=precision)
    if precision == "int8":
        raise Unsupported(f"precision int8 is not possible for this model: {reason}. Leave it at float32.")
    return network


_SIXTEEN_BITS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def require_possible(network: nn.Module, precision: RunPrecision) -> None:
    """Raises UserError for products in 16 bits anywhere but on a GPU."""
    device = next(network.parameters()).device
    if precision in _SIXTEEN_BITS and device.type != "cuda":
        raise Unsupported(
            f"precision {precision}: products in 16 bits are for GPUs, and this model is on {device.type}. "
            "Choose float32, or int8, which is faster."
        )


def device_engine(network: nn.Module, *, dtype: torch.dtype) -> Any:
    """What should be driven in the network's place on a GPU. dtype: of weights and products."""
    if type(network) is Transformer and fixed.unsupported_reason(network) is None:
        return FixedTransformer(network, dtype=dtype)
    return network if dtype == torch.float32 else copy.deepcopy(network).to(dtype)
