"""Non-autoregressive models: a scheme over a body.

`interface.py` defines what a body does: it encodes a source and writes all target positions at once.
`network.py` is the body in torch, which is trained; the C engine and an exported ONNX graph are others. A
scheme (`fertility.py`, `mask_predict.py`, `ctc.py`, `dag.py`) determines the target length and the decoder's
input.
"""

from saccade.models.nonautoregressive.config import SchemeName
from saccade.models.nonautoregressive.ctc import Ctc
from saccade.models.nonautoregressive.dag import Dag
from saccade.models.nonautoregressive.fertility import Fertility
from saccade.models.nonautoregressive.interface import Scheme
from saccade.models.nonautoregressive.mask_predict import MaskPredict

SCHEMES: dict[SchemeName, type[Scheme]] = {
    "fertility": Fertility,
    "mask-predict": MaskPredict,
    "ctc": Ctc,
    "dag": Dag,
}
"""The scheme that `model.decoder` names."""
