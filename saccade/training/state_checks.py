"""Checks of the tensors in a saved training state, before anything computes with them."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

_LAST_EXACT = 1 << 24
"""The count at which a number of updates in float32, as the optimiser keeps it, stays."""


def require_finite(name: str, tensor: Tensor) -> None:
    """Raises ValueError if a tensor holds NaN or infinity."""
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds numbers that are not finite")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity."""
    # A sum is one pass without a mask of the same size; it can only overflow when something is very wrong.
    return all(bool(torch.isfinite(tensor.detach().sum(dtype=torch.float64))) for tensor in tensors)


def require_moments(moments: Mapping[str, Mapping[str, Tensor]], network: nn.Module, *, updates: int) -> None:
    """Raises ValueError unless `moments` are those of Adam for these parameters after `updates` updates.

    moments: for each parameter by name, the number of its updates (`step`), and the means of its gradient
    (`exp_avg`) and of the squared gradient (`exp_avg_sq`), in the parameter's shape and type.
    """
    parameters = dict(network.named_parameters())
    if unknown := moments.keys() - parameters.keys():
        raise ValueError(f"optimizer/{min(unknown)}: the model has no such parameter")
    for name, parameter in parameters.items():
        if not parameter.requires_grad or (name not in moments and not updates):
            continue
        if name not in moments:
            raise ValueError(f"optimizer/{name} is missing")
        _require_moments_of(name, parameter, moments[name])
        done = int(moments[name]["step"])
        if done != min(updates, _LAST_EXACT):
            raise ValueError(f"optimizer/{name}/step is {done}, and the run has applied {updates} updates")


def require_generators(states: Mapping[str, Tensor], *, first: bool) -> None:
    """Raises ValueError or RuntimeError unless these can be the states of one process's random generators.

    first: whether the process is the first one, whose state every run has; a run may be resumed by more
    processes than wrote it.
    """
    if not states and not first:
        return
    if "cpu" not in states:
        raise ValueError("the state of the random generator is missing")
    if unknown := states.keys() - {"cpu", "cuda"}:
        raise ValueError(f"generator: unknown {min(unknown)}")
    for name, state in states.items():
        if state.dtype != torch.uint8 or state.dim() != 1:
            raise ValueError(f"generator: the state {name} is not a row of bytes")
    torch.Generator().set_state(states["cpu"])


def _require_moments_of(name: str, parameter: Tensor, found: Mapping[str, Tensor]) -> None:
    shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
    if wrong := shapes.keys() ^ found.keys():
        what = "is missing" if min(wrong) in shapes else "is unknown"
        raise ValueError(f"optimizer/{name}/{min(wrong)} {what}")
    for key, shape in shapes.items():
        tensor, kind = found[key], torch.float32 if key == "step" else parameter.dtype
        if tensor.shape != shape:
            raise ValueError(f"optimizer/{name}/{key} is {list(tensor.shape)} instead of {list(shape)}")
        if tensor.dtype != kind:
            raise ValueError(f"optimizer/{name}/{key} is {_short(tensor.dtype)} instead of {_short(kind)}")
    if bool((found["exp_avg_sq"] < 0).any()):
        raise ValueError(f"optimizer/{name}/exp_avg_sq holds negative numbers")


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
