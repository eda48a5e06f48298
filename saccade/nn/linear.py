"""Linear layers that use the faster of torch's two matrix libraries on CPUs.

torch multiplies float32 matrices with MKL on CPUs. oneDNN, which torch includes for bfloat16, was twice as
fast on the only processor measured, an AMD EPYC with AVX-512; Intel processors were not tried.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as torch_linear
from torch.nn.functional import pad

_WORTH = 1 << 21
"""Number of multiplications above which a call to oneDNN repays its overhead."""


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN computes the product of x (..., inputs) and weight (outputs, inputs)."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * weight.size(0) >= _WORTH
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # not public; torch's compiler calls it
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (rows, inputs) weight (outputs, inputs)^T + bias, for any strides and without gradient."""
    if serves(x, weight):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001
        return out
    return torch_linear(x, weight, bias)


def transposed_product(x: Tensor, y: Tensor) -> Tensor:
    """x^T y (m, n) of x (rows, m) and y (rows, n), as in the gradient of weights; without gradient."""
    if not serves(x.t(), y.t()):
        return x.t() @ y
    # oneDNN reads a transposed first factor slowly, so the smaller one is transposed in memory first.
    if x.size(1) <= y.size(1):
        return product(x.t().contiguous(), y.t())
    return product(y.t().contiguous(), x.t()).t()


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            product(gradient, weight.t()) if needs_x else None,
            transposed_product(gradient, x) if needs_weight else None,
            gradient.sum(0) if needs_bias else None,
        )


class Linear(nn.Linear):
    """A linear layer x W^T + b, as `nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Maps (..., inputs) to (..., outputs)."""
        if not serves(input, self.weight):
            return torch_linear(input, self.weight, self.bias)
        rows = input.reshape(-1, self.in_features)
        if not torch.is_grad_enabled():
            out = product(_rounded_up(rows), self.weight, self.bias)[: len(rows)]
        else:
            out = _OneDnnLinear.apply(rows, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out.view(*input.shape[:-1], self.out_features)


def _rounded_up(x: Tensor) -> Tensor:
    """x (rows, inputs) with rows of zeros at the end, at most one in sixteen, so that few sizes occur.

    oneDNN compiles a kernel for every number of rows, and torch keeps two thousand of them, which took
    hundreds of megabytes in a process that translated for long. A training run keeps them for speed.
    """
    rows = len(x)
    step = 1 << max(rows.bit_length() - 5, 0)
    return pad(x, (0, 0, 0, -rows % step))
