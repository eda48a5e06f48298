"""Dropout whose random bits are cheap on a CPU."""

import torch
from torch import Tensor, nn

_STEPS = 1 << 16  # the drop probability is rounded to a multiple of 1/65,536


class Dropout(nn.Module):
    """Zero elements with probability `rate` while training and scale the rest by 1 / (1 - rate).

    torch draws one 32-bit number per element on a CPU, which costs up to a fifth of a training
    step. Here one 64-bit draw of the same generator decides four elements. Elsewhere torch's own
    kernel runs.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate}: allowed are values from 0 up to, not including, 1")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape; returns the same shape."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return nn.functional.dropout(x, self.rate)
        return x * _scaled_mask(x, self.rate)

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"rate={self.rate}"


def _scaled_mask(x: Tensor, rate: float) -> Tensor:
    """0 where dropped, 1 / (share really kept) elsewhere, so that the mean is kept exactly."""
    threshold = min(round(rate * _STEPS), _STEPS - 1)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
    draws.random_(-(1 << 63), None)  # all 64 bits
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    keep = bits >= threshold - _STEPS // 2
    return keep.to(x.dtype).mul_(_STEPS / (_STEPS - threshold))
