"""Dropout, and the normalised residual sum, in one pass each (residual.c)."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from saccade.native.library import kernels, library
from saccade.native.structs import CResidualNorm

STEPS = 1 << 16
"""The drop probability is rounded to a multiple of 1/65,536; what is kept is scaled by exactly that."""

_LOW = torch.bfloat16


def serves(x: Tensor) -> bool:
    """Whether the kernels can take this tensor."""
    return (
        not torch.compiler.is_compiling()  # first: what follows would become conditions of an exported graph
        and x.device.type == "cpu"
        and x.dtype in {torch.float32, _LOW}
        and x.dim() > 0
        and library() is not None
    )


def dropout(x: Tensor, rate: float) -> Tensor:
    """Dropout of x (..., width); which elements fall is a function of one number of torch's generator."""
    dropped: Tensor = _Dropout.apply(x, rate)  # type: ignore[no-untyped-call]
    return dropped


def add_norm(x: Tensor, y: Tensor, norm: torch.nn.LayerNorm, *, dropout: float) -> Tensor:
    """norm(x + Dropout(y)) for x, y (..., width), width a multiple of 16, x float32."""
    out: Tensor = _AddNorm.apply(x, y, norm.weight, norm.bias, (norm.eps, dropout))  # type: ignore[no-untyped-call]
    return out


def serves_norm(x: Tensor, y: Tensor) -> bool:
    """Whether `add_norm` can take these."""
    return x.dtype == torch.float32 and x.shape[-1] % 16 == 0 and serves(x) and serves(y)


def draw_seed() -> int:
    """64 random bits of torch's generator, which training saves and restores."""
    return int(torch.empty((), dtype=torch.int64).random_(-(1 << 63), None)) % (1 << 64)


def drop_count(rate: float) -> int:
    """The number of elements that are dropped out of 65,536."""
    return min(round(rate * STEPS), STEPS - 1)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        ctx.drop, ctx.seed = drop_count(rate), draw_seed()
        return _dropped(x, drop=ctx.drop, seed=ctx.seed)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        return _dropped(outer[0], drop=ctx.drop, seed=ctx.seed), None


def _dropped(x: Tensor, *, drop: int, seed: int) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    rows = x.numel() // width if width else 0
    kernels().dropout(x.data_ptr(), out.data_ptr(), rows, width, drop, seed, x.dtype == _LOW)
    return out


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, settings: tuple[float, float]
    ) -> Tensor:
        epsilon, rate = settings
        x, y = x.contiguous(), y.contiguous()
        width = x.shape[-1]
        rows = x.numel() // width
        out, total = torch.empty_like(x), torch.empty_like(x)
        mean, scale = torch.empty(2, rows).unbind()
        call = CResidualNorm(
            rows=rows,
            width=width,
            epsilon=epsilon,
            drop=drop_count(rate),
            seed=draw_seed() if rate else 0,
            weight=weight.data_ptr(),
            bias=bias.data_ptr(),
            sum=total.data_ptr(),
            mean=mean.data_ptr(),
            scale=scale.data_ptr(),
            low=y.dtype == _LOW,
            threads=torch.get_num_threads(),
        )
        kernels().norm_forward(ctypes.byref(call), *(z.data_ptr() for z in (x, y, out)))
        ctx.save_for_backward(weight, bias, total, mean, scale)
        ctx.call, ctx.low = call, y.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        total = ctx.saved_tensors[2]  # all saved ones live until here, as the call's pointers need
        to_x, to_y = torch.empty_like(total), torch.empty_like(total, dtype=ctx.low)
        parts = total.new_zeros(ctx.call.threads, 2, ctx.call.width)
        slope = outer[0].contiguous()
        pointers = (z.data_ptr() for z in (slope, to_x, to_y, parts))
        kernels().norm_backward(ctypes.byref(ctx.call), *pointers)
        to_weight, to_bias = parts.sum(0).unbind()
        return to_x, to_y, to_weight, to_bias, None
