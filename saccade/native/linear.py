"""Weights of a linear layer as `linear.h` reads them: panels of 64 outputs, as floats or 8-bit integers."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.native.library import kernels
from saccade.native.structs import CLinear
from saccade.quantisation import Precision, quantise

_PANEL, _DEPTH = 64, 4


@dataclass(frozen=True)
class PackedLinear:
    """A packed layer. Its outputs are filled up with zeros to whole panels.

    weight: (panels, 64 / strip, inputs, strip) float32, or (panels, 64 / strip, inputs / 4, strip, 4) int8
    with scale and total (panels * 64,); `strip` depends on the processor (linear.h). struct: what C is given;
    the layer owns the memory that it points to.
    """

    out_features: int
    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None
    total: Tensor | None = None
    struct: CLinear = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        addresses = map(_address, (self.weight, self.scale, self.total, self.bias))
        object.__setattr__(self, "struct", CLinear(self.in_features, self.out_features, *addresses))

    @property
    def in_features(self) -> int:
        """How many numbers a row has that goes in."""
        return self.weight[0].numel() // _PANEL

    def __call__(self, x: Tensor) -> Tensor:
        """Multiplies x (..., inputs) float32: x W^T + b, as (..., outputs)."""
        return self.into(torch.empty(*x.shape[:-1], self.out_features), x)

    def into(self, out: Tensor, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Multiplies as `__call__` does, and writes to `out`, which is contiguous.

        lengths: of sequences x (batch, longest, inputs), int64 (batch,); what lies behind them is left
        alone. Raises IndexError for a length that is out of range.
        """
        x = self._checked(x)
        kernels().linear_forward(
            ctypes.byref(self.struct),
            x.data_ptr(),
            out.data_ptr(),
            x.shape[:-1].numel(),
            x.size(-2),
            None if lengths is None else lengths.data_ptr(),
        )
        return out

    def argmax(self, x: Tensor, *, excluded: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """The greatest output of each row of x (rows, inputs), of equals the first, and its log-probability
        under a softmax over all outputs; both (rows,). excluded: outputs that count but are not chosen."""
        x, rows = self._checked(x), x.size(0)
        found, log_probs = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        kernels().linear_argmax(
            ctypes.byref(self.struct),
            x.data_ptr(),
            rows,
            (ctypes.c_int64 * len(excluded))(*excluded),
            len(excluded),
            found.data_ptr(),
            log_probs.data_ptr(),
        )
        return found, log_probs

    def _checked(self, x: Tensor) -> Tensor:
        """x as C reads it; ValueError if it is nothing that this layer takes."""
        if x.dtype != torch.float32 or x.size(-1) != self.struct.inputs:
            raise ValueError(
                f"this layer takes float32 (..., {self.struct.inputs}), not {x.dtype} {tuple(x.shape)}"
            )
        return x.contiguous()


def pack(weight: Tensor, bias: Tensor | None, *, precision: Precision) -> PackedLinear:
    """Packs weight (outputs, inputs) and bias (outputs,); int8 needs a multiple of four inputs.

    int8: weights are rounded as `quantise` does; inputs when they come, each row over the range that it has.
    """
    outputs, inputs = weight.shape
    fill, strip = -outputs % _PANEL, ctypes.c_int64.in_dll(kernels(), "strip").value
    weight = pad(weight.detach().float(), (0, 0, 0, fill))
    bias = torch.zeros(outputs) if bias is None else bias.detach().float()
    bias = pad(bias, (0, fill)).contiguous()
    if precision == "float32":
        panels = weight.view(-1, _PANEL // strip, strip, inputs).transpose(2, 3)
        return PackedLinear(outputs, panels.contiguous(), bias)
    rounded, scale = quantise(weight)
    panels = rounded.view(-1, _PANEL // strip, strip, inputs // _DEPTH, _DEPTH).transpose(2, 3)
    total = rounded.sum(1, dtype=torch.int32)
    return PackedLinear(outputs, panels.contiguous(), bias, scale, total)


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
