"""Recurrence and convolution in the place of a Transformer layer."""

from collections.abc import Callable

from torch import Tensor, nn

from saccade.nn.convolution import ConvolutionalEncoderLayer
from saccade.nn.recurrence import Recurrence

Body = Callable[..., Tensor]


class RecurrentBody(nn.Module):
    """A GRU in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(width, width, cell="gru", layers=1, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.recurrence(x, [(x.new_zeros(x.size(0), x.size(2)),)])
        return out


class ConvolutionalBody(nn.Module):
    """A gated convolution of width 3 in the place of a Transformer layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = ConvolutionalEncoderLayer(width, width, kernel=3, dropout=0.0)

    def forward(self, x: Tensor, *, visible: Tensor | None = None) -> Tensor:  # noqa: ARG002 - as a layer
        """See `EncoderLayer.forward`."""
        out: Tensor = self.layer(x, real=None)
        return out
