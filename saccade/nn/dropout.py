"""Dropout of elements, with cheap random bits on CPUs, and of whole layers."""

import torch
from torch import Tensor, nn

from saccade.native import residual as native


class Dropout(nn.Module):
    """Sets elements to zero with probability `rate` in training and scales the others by 1 / (1 - rate).

    On a CPU torch draws one 32-bit number per element, which costs up to a fifth of a training step; our
    kernel generates the bits where it uses them.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate}: allowed are values from 0 up to, not including, 1")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Applies dropout to x of any shape; returns the same shape."""
        if not self.training or self.rate == 0:
            return x
        if native.serves(x):
            return native.dropout(x, self.rate)
        return nn.functional.dropout(x, self.rate)

    def extra_repr(self) -> str:
        """The part of `repr(module)` in brackets."""
        return f"rate={self.rate}"


class LayerDropout(nn.Module):
    """Skips a layer with probability `rate` in training (LayerDrop, Fan et al. 2020, section 3.2).

    Each sentence of a batch skips by itself, so that every parameter has a gradient in every process and a
    batch may be cut into parts. Nothing is rescaled, and in use no layer is skipped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """The output of a layer, or its input for sentences that skip it; both (batch, length, width)."""
        if not self.training or self.rate == 0:
            return after
        skipped = torch.rand(len(after), 1, 1, device=after.device) < self.rate
        return torch.where(skipped, before, after)

    def extra_repr(self) -> str:
        """The part of `repr(module)` in brackets."""
        return f"rate={self.rate}"
