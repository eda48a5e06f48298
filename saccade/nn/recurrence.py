"""Recurrent layers: a stack of GRUs or LSTMs that reads left to right, and a bidirectional encoder.

The cells are torch's. Its GRU applies the reset gate after the recurrent product, as cuDNN does:
n = tanh(W x + b + r (U h + c)), h' = n + z (h - n); Cho et al. 2014 apply it before.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from saccade.machine import computes_bfloat16
from saccade.nn.dropout import Dropout

Cell = Literal["gru", "lstm"]
Hidden = list[tuple[Tensor, ...]]
"""Hidden states of the layers: (h,) of a GRU or (h, c) of an LSTM, each (rows, width). h is the output."""

_LAYERS: dict[Cell, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
PARTS: dict[Cell, int] = {"gru": 1, "lstm": 2}
"""Number of tensors in a layer's hidden state."""
GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}
"""Number of gates of a layer, each of the layer's width."""


def gru_cell(gates: Tensor, hidden: tuple[Tensor, ...], weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """One step of a GRU. gates (rows, 3 width): the input's product and bias; weight, bias: the state's."""
    (h,) = hidden
    own = linear(h, weight, bias)
    width = h.size(-1)
    reset, update = (gates[:, : 2 * width] + own[:, : 2 * width]).sigmoid().chunk(2, -1)
    new = torch.addcmul(gates[:, 2 * width :], reset, own[:, 2 * width :]).tanh()
    return (new + update * (h - new),)


def lstm_cell(gates: Tensor, hidden: tuple[Tensor, ...], weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """One step of an LSTM. gates (rows, 4 width): the input's product and bias; weight, bias: the state's."""
    h, c = hidden
    both = gates + linear(h, weight, bias)
    take, forget, new, give = both.chunk(4, -1)
    c = forget.sigmoid() * c + take.sigmoid() * new.tanh()
    return give.sigmoid() * c.tanh(), c


_CELLS: dict[Cell, Callable[[Tensor, tuple[Tensor, ...], Tensor, Tensor], tuple[Tensor, ...]]] = {
    "gru": gru_cell,
    "lstm": lstm_cell,
}


def recurrent_layer(inputs: int, width: int, *, cell: Cell) -> nn.RNNBase:
    """A layer of torch with orthogonal recurrent matrices and zero biases (Bahdanau et al. 2015, B.1).

    Input matrices are Xavier-initialised; the forget gate of an LSTM has bias 1 (Gers et al. 2000).
    """
    layer = _LAYERS[cell](inputs, width, batch_first=True)
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.split(width):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            for gate in parameter.data.split(width):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
    if cell == "lstm":
        _, _, bias, _ = layer.all_weights[0]
        nn.init.ones_(bias.data[width : 2 * width])
    return layer


class Recurrence(nn.Module):
    """A stack of layers: all positions with torch's fused kernels, or one at a time with `step`."""

    def __init__(self, inputs: int, width: int, *, cell: Cell, layers: int, dropout: float) -> None:
        super().__init__()
        self.cell: Cell = cell
        sizes = [inputs, *[width] * (layers - 1)]
        self.layers = nn.ModuleList(recurrent_layer(size, width, cell=cell) for size in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, hidden: Hidden) -> Tensor:
        """The top layer's states (batch, length, width) for x (batch, length, inputs)."""
        states, _ = self.read(x, hidden)
        return states

    def read(self, x: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """The result of `forward`, and the hidden state after the last position."""
        last: Hidden = []
        for number, (layer, start) in enumerate(zip(self.layers, hidden, strict=True)):
            if number:
                x = self.dropout(x)
            parts = tuple(part[None] for part in start)
            x, end = fused(cast(nn.RNNBase, layer), x, parts)
            last.append(tuple(part[0] for part in (end if isinstance(end, tuple) else (end,))))
        return x, last

    def gates(self, x: Tensor) -> Tensor:
        """The input part of the first layer's gates for x (..., inputs), all positions in one product."""
        weight, _, bias, _ = self._weights(0)
        return linear(x, weight, bias)

    def step(self, gates: Tensor, hidden: Hidden) -> Hidden:
        """Computes one position of each row. gates (rows, ...): from `gates`, plus those of other inputs."""
        new: Hidden = []
        for number, parts in enumerate(hidden):
            of_input, of_state, input_bias, state_bias = self._weights(number)
            if number:
                gates = linear(self.dropout(new[-1][0]), of_input, input_bias)
            new.append(_CELLS[self.cell](gates, parts, of_state, state_bias))
        return new

    def _weights(self, number: int) -> list[nn.Parameter]:
        """The weights of the input and of the state, and the bias of each."""
        return cast(nn.RNNBase, self.layers[number]).all_weights[0]


class BidirectionalEncoder(nn.Module):
    """An encoder whose layers read their input forwards and backwards: annotations [forward; backward].

    Padding needs no packing: the backward layer reads each sentence reversed within its own length, so that
    both directions reach the padding after the sentence, where it changes nothing.
    """

    def __init__(self, inputs: int, width: int, *, cell: Cell, layers: int, dropout: float) -> None:
        super().__init__()
        sizes = [inputs, *[2 * width] * (layers - 1)]
        self.ahead = nn.ModuleList(recurrent_layer(size, width, cell=cell) for size in sizes)
        self.back = nn.ModuleList(recurrent_layer(size, width, cell=cell) for size in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (batch, length, inputs), lengths (batch,); returns annotations (batch, length, 2 width).

        Behind a sentence's end they are finite and meaningless.
        """
        order = reversal(lengths, x.size(1))
        for ahead, back in zip(self.ahead, self.back, strict=True):
            forward = run(cast(nn.RNNBase, ahead), x)
            backward = run(cast(nn.RNNBase, back), _reorder(x, order))
            x = self.dropout(torch.cat([forward, _reorder(backward, order)], -1))
        return x


def run(layer: nn.RNNBase, x: Tensor, hidden: tuple[Tensor, ...] | None = None) -> Tensor:
    """The output of a fused layer for x (batch, length, inputs); hidden (1, batch, width) or None: zeros."""
    out, _ = fused(layer, x, hidden)
    return out


def fused(layer: nn.RNNBase, x: Tensor, hidden: tuple[Tensor, ...] | None) -> tuple[Tensor, Any]:
    """The layer's output for x (batch, length, inputs), and its last hidden state.

    oneDNN has no bfloat16 LSTM for processors without AVX-512 and fails there: autocast is disabled on them.
    """
    start = hidden if hidden is None or len(hidden) > 1 else hidden[0]
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not computes_bfloat16():
        with torch.autocast("cpu", enabled=False):
            out, last = layer(x.to(layer.all_weights[0][0].dtype), start)
    else:
        out, last = layer(x, start)
    return out, last


def reversal(lengths: Tensor, length: int) -> Tensor:
    """The index (batch, length) that reverses each sentence but not its padding; it is its own inverse."""
    place = torch.arange(length, device=lengths.device)
    mirrored = lengths[:, None] - 1 - place
    return torch.where(mirrored >= 0, mirrored, place)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[..., None].expand(-1, -1, x.size(2)))
