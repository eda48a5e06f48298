"""The decoder of each scheme."""

from typing import Any

from saccade.decoding.nonautoregressive.ctc import CtcDecoder
from saccade.decoding.nonautoregressive.dag import DagDecoder
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.nonautoregressive.fertility import FertilityDecoder
from saccade.decoding.nonautoregressive.mask_predict import MaskPredictDecoder
from saccade.models.nonautoregressive.config import SchemeName

DECODERS: dict[SchemeName, type[NonAutoregressiveDecoder[Any]]] = {
    "fertility": FertilityDecoder,
    "mask-predict": MaskPredictDecoder,
    "ctc": CtcDecoder,
    "dag": DagDecoder,
}
"""The decoder of the scheme that `model.decoder` names."""
