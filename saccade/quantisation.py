"""Weights as 8-bit integers: symmetric, with a scale for each output."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Precision = Literal["float32", "int8"]
"""Precision of stored weights."""
RunPrecision = Literal["float32", "int8", "bfloat16", "float16"]
"""Precision of search: int8 on a CPU, 16 bits on a GPU."""
PRECISIONS = get_args(RunPrecision)

_STEPS = 127
SCALE = ".scale"
"""Ending of the name of a matrix's scales."""


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantises weight (outputs, inputs) to int8 and scale (outputs,), so that weight is about int8 * scale.

    Quantising restored weights again gives the same values.
    """
    weight = weight.detach().float()
    scale = weight.abs().amax(1) / _STEPS
    return (weight / scale.clamp(min=1e-30)[:, None]).round().to(torch.int8), scale


def quantised(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors for storage: linear layers and embeddings in int8, each with NAME.scale."""
    matrices = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding)
    }
    stored = {}
    for name, tensor in weights.items():
        if name in matrices:
            stored[name], stored[name + SCALE] = quantise(tensor)
        else:
            stored[name] = tensor
    return stored


def restored(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `quantised` stored, as float32 under their own names; others are unchanged."""
    scales = {name for name in stored if name.endswith(SCALE) and name.removesuffix(SCALE) in stored}
    return {
        name: tensor.float() * stored[name + SCALE][:, None] if name + SCALE in scales else tensor
        for name, tensor in stored.items()
        if name not in scales
    }
