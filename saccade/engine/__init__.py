"""Trained models packed for fast decoding on a CPU; decoders drive them as they drive the models."""

from collections.abc import Callable
from typing import Any

from torch import nn

from saccade.engine import nonautoregressive, transformer
from saccade.engine.nonautoregressive import PackedBody
from saccade.engine.transformer import TransformerEngine
from saccade.errors import Unsupported
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision

__all__ = ["ENGINES", "make_engine", "unsupported_reason"]

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


def make_engine(network: nn.Module, *, precision: Precision = "float32") -> Any:
    """What should be driven in the network's place: an engine, or the network itself if there is none.

    Raises UserError for int8 if there is no engine: torch itself would only be slower with it.
    """
    reason = unsupported_reason(network)
    if reason is None:
        return ENGINES[type(network)][0](network, precision=precision)
    if precision == "int8":
        raise Unsupported(f"precision int8 is not possible for this model: {reason}. Leave it at float32.")
    return network
