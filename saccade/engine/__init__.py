"""Trained models made ready to decode fast on a CPU; search and parallel decoding drive them as they drive
the models."""

from typing import cast, overload

from saccade.engine.parallel import in_c, why_not_parallel
from saccade.engine.transformer import TransformerEngine
from saccade.engine.transformer import why_slow as _why_slow
from saccade.errors import UserError
from saccade.models.interface import Parallel, Seq2Seq, Translating
from saccade.models.nonautoregressive import NonAutoregressive
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision

__all__ = ["ready", "why_slow"]


def why_slow(network: Translating) -> str | None:
    """Why there is no engine for this network; None where there is one."""
    if isinstance(network, Transformer):
        return _why_slow(network)
    if isinstance(network, NonAutoregressive):
        return why_not_parallel(network)
    return "it is neither a Transformer nor non-autoregressive"


@overload
def ready(network: Parallel, *, precision: Precision = "float32") -> Parallel: ...
@overload
def ready(network: Seq2Seq, *, precision: Precision = "float32") -> TransformerEngine | Seq2Seq: ...
def ready(
    network: Translating, *, precision: Precision = "float32"
) -> TransformerEngine | Seq2Seq | Parallel:
    """What should be driven in the network's place: an engine, or the network where there is none.

    Raises UserError for int8 where there is no engine: torch itself would only be slower with it.
    """
    reason = why_slow(network)
    if reason is None and isinstance(network, Transformer):
        return TransformerEngine(network, precision=precision)
    if reason is None and isinstance(network, NonAutoregressive):
        return cast(Parallel, in_c(network, precision=precision))
    if precision == "int8":
        raise UserError(f"precision int8 is not possible for this model: {reason}. Leave it at float32.")
    return network
