"""Writing ONNX graphs, and running them with onnxruntime."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.distribution import missing
from saccade.errors import DamagedFile
from saccade.native.fork import ThisProcess

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
_LARGEST_IN_ONE_FILE = 1 << 30  # bytes of weights; protobuf ends at 2 GiB


def require_exporter() -> None:
    """Raises UserError if the packages are missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing("exporting to ONNX needs more packages", "onnx") from error


def export_graph(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    file: Path,
    *,
    shapes: Any,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    """Writes a module's `forward` as a graph; shapes: dynamic shapes, see `torch.onnx.export`."""
    size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it warns about optional packages
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            arguments,
            file,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=inputs,
            output_names=outputs,
            external_data=size > _LARGEST_IN_ONE_FILE,
            verbose=False,
        )
    exporter.setLevel(level)


def sessions(folder: Path, *, threads: int | None) -> tuple[ThisProcess[Any], ThisProcess[Any]]:
    """Encoder and decoder on the CPU; raises UserError if onnxruntime is missing or cannot load them."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime is not installed", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        encoder, decoder = (
            onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
            for name in (ENCODER, DECODER)
        )
    except Exception as error:  # onnxruntime has a dozen exceptions without a common class
        raise DamagedFile(f"{folder}: onnxruntime cannot load it: {error}.") from error
    return ThisProcess(encoder), ThisProcess(decoder)


def run(session: ThisProcess[Any], **inputs: Tensor) -> list[Tensor]:
    """Runs a graph; returns its outputs."""
    arrays = {name: tensor.contiguous().numpy() for name, tensor in inputs.items()}
    return [torch.from_numpy(array) for array in session.get().run(None, arrays)]
