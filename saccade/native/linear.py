"""Weights of a linear layer as `linear.h` reads them: panels of 64 outputs, as floats or 8-bit integers."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.native.library import kernels
from saccade.native.quantise import Precision, quantise

_PANEL, _DEPTH = 64, 4


class CLinear(ctypes.Structure):
    """`Linear` of linear.h."""

    _fields_ = [
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("total", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class PackedLinear:
    """One layer; its outputs are filled up with zeros to whole panels. Owns the memory `call` points to.

    weight: (panels, inputs, 64) float32, or (panels, inputs / 4, 64, 4) int8 with scale and total
    (panels * 64,).
    """

    out_features: int
    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None
    total: Tensor | None = None

    @cached_property
    def call(self) -> CLinear:
        """What C is given."""
        inputs = self.weight.size(1) * (1 if self.scale is None else _DEPTH)
        addresses = map(_address, (self.weight, self.scale, self.total, self.bias))
        return CLinear(inputs, self.out_features, *addresses)

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., inputs) float32 to (..., outputs): x W^T + b."""
        return self.into(torch.empty(*x.shape[:-1], self.out_features), x)

    def into(self, out: Tensor, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The same, written to `out`. lengths: of sequences x (batch, longest, inputs), int64 (batch,); what
        lies behind them is left alone."""
        x = x.contiguous()
        kernels().linear_forward(
            ctypes.byref(self.call),
            ctypes.c_void_p(x.data_ptr()),
            ctypes.c_void_p(out.data_ptr()),
            ctypes.c_long(x.shape[:-1].numel()),
            ctypes.c_long(x.size(-2)),
            ctypes.c_void_p(None if lengths is None else lengths.data_ptr()),
        )
        return out

    def likeliest(self, x: Tensor, *, never: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """The likeliest output of each row of x (rows, inputs), of equals the first, and its log-probability
        under a softmax over all outputs; both (rows,). never: outputs that count but are not taken."""
        x, rows = x.contiguous(), x.size(0)
        places, log_probs = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        barred = (ctypes.c_int64 * len(never))(*never)
        kernels().linear_likeliest(
            ctypes.byref(self.call),
            ctypes.c_void_p(x.data_ptr()),
            ctypes.c_long(rows),
            barred,
            ctypes.c_long(len(never)),
            ctypes.c_void_p(places.data_ptr()),
            ctypes.c_void_p(log_probs.data_ptr()),
        )
        return places, log_probs


def pack(weight: Tensor, bias: Tensor | None, *, precision: Precision) -> PackedLinear:
    """Pack weight (outputs, inputs) and bias (outputs,); int8 needs inputs in fours.

    int8: weights are rounded as `quantise` does; inputs when they come, each row over the range that it has.
    """
    outputs, inputs = weight.shape
    fill = -outputs % _PANEL
    weight = pad(weight.detach().float(), (0, 0, 0, fill))
    bias = torch.zeros(outputs) if bias is None else bias.detach().float()
    bias = pad(bias, (0, fill)).contiguous()
    if precision == "float32":
        panels = weight.view(-1, _PANEL, inputs).transpose(1, 2)
        return PackedLinear(outputs, panels.contiguous(), bias)
    rounded, scale = quantise(weight)
    panels = rounded.view(-1, _PANEL, inputs // _DEPTH, _DEPTH).transpose(1, 2)
    total = rounded.sum(1, dtype=torch.int32)
    return PackedLinear(outputs, panels.contiguous(), bias, scale, total)


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
