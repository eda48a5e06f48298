"""How much of what a machine can compute a training run uses."""

import time

import torch
from torch import nn

_SECONDS = 0.5  # of measuring


def training_flops(network: nn.Module, *, source: int, target: int) -> float:
    """Floating-point operations of an update for these numbers of real tokens, of an encoder-decoder.

    6 for each weight of a linear layer and token that it sees: a multiplication and an addition, in the
    forward pass and for the two gradients. Attention scores and padding do not count.
    """
    total = 0.0
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            reads_source = name.startswith("encoder.") or name.endswith("cross_attention.key_value")
            total += 6.0 * module.weight.numel() * (source if reads_source else target)
    return total


def matrix_ceiling(device: torch.device, dtype: torch.dtype, *, size: int | None = None) -> float:
    """Floating-point operations a second of a product of square matrices: the most that is to be had.

    size: of the matrices; unset: 8,192 on a GPU, 1,024 on a CPU.
    """
    size = size or (1024 if device.type == "cpu" else 8192)
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        count = 1 if device.type == "cpu" else 10
        synchronise(device)
        started = time.perf_counter()
        for _ in range(count):
            one @ other
        synchronise(device)
        best = min(best, (time.perf_counter() - started) / count)
    return 2.0 * size**3 / best


def synchronise(device: torch.device) -> None:
    """Waits until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
