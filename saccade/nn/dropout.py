"""Dropout whose random bits are cheap on a CPU."""

from torch import Tensor, nn

from saccade.native import residual as native


class Dropout(nn.Module):
    """Zero elements with probability `rate` while training and scale the rest by 1 / (1 - rate).

    torch draws one 32-bit number per element on a CPU, which costs up to a fifth of a training step;
    ours makes the bits where it uses them.
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
        if native.serves(x):
            return native.dropout(x, self.rate)
        return nn.functional.dropout(x, self.rate)

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"rate={self.rate}"
