"""Trained models made ready to decode fast on a CPU; search drives them as it drives the models."""

from saccade.engine.transformer import TransformerEngine, why_slow
from saccade.errors import UserError
from saccade.models.interface import Seq2Seq, Stepwise
from saccade.models.transformer import Transformer
from saccade.native.quantise import Precision

__all__ = ["ready", "why_slow"]


def ready(network: Seq2Seq, *, precision: Precision = "float32") -> Stepwise:
    """What search should drive: an engine with a copy of the weights, or the network where there is none.

    Raises UserError for int8 where there is no engine: torch itself would only be slower with it.
    """
    reason = why_slow(network)
    if reason is None and isinstance(network, Transformer):
        return TransformerEngine(network, precision=precision)
    if precision == "int8":
        raise UserError(f"precision int8 is not possible for this model: {reason}. Leave it at float32.")
    return network
