"""Attention over short sequences, with its gradient (attention.c).

torch's fused kernel is made for long sequences: at 15 positions and 32 channels a head it spends most
of its time on what surrounds the products.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from saccade.native.library import kernels, library
from saccade.native.residual import draw_seed, drop_count
from saccade.native.structs import CAttention, CView

LONGEST = 256
"""Positions on either side up to which a head's scores stay in the cache."""


def serves(query: Tensor, key: Tensor, value: Tensor, *, visible: Tensor | None, causal: bool) -> bool:
    """Whether the kernel can take these: short, on a CPU, hiding only padding or the future."""
    return (
        not torch.compiler.is_compiling()  # first: what follows would become conditions of an exported graph
        and query.device.type == "cpu"
        and query.dtype in {torch.float32, torch.bfloat16}
        and query.dtype == key.dtype == value.dtype
        and max(query.size(2), key.size(2)) <= LONGEST
        and key.shape == value.shape
        and query.shape[:2] == key.shape[:2]
        and query.size(3) == key.size(3)
        and not (causal and query.size(2) != key.size(2))
        and (visible is None or visible.shape == (query.size(0), 1, 1, key.size(2)))
        and library() is not None
    )


def short_attention(
    query: Tensor, key: Tensor, value: Tensor, *, visible: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """As `saccade.nn.attention.attend` where `serves` holds; a query that may look nowhere gives 0.

    Which weights are dropped is a pure function of one number drawn from torch's generator.
    """
    mixed: Tensor = _ShortAttention.apply(query, key, value, (visible, causal, dropout))  # type: ignore[no-untyped-call]
    return mixed


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, settings: tuple[Tensor | None, bool, float]
    ) -> Tensor:
        visible, causal, dropout = settings
        inputs = tuple(map(_rows_contiguous, (query, key, value)))
        batch, heads, queries, width = query.shape
        # Laid out as `merge_heads` wants it: joining the heads copies nothing.
        out = query.new_empty(batch, queries, heads, width).transpose(1, 2)
        logsumexp = torch.empty(batch, heads, queries)
        mask = None if visible is None else visible.contiguous().view(torch.uint8)
        call = CAttention(
            batch,
            heads,
            queries,
            key.size(2),
            width,
            mask.data_ptr() if mask is not None else None,
            causal,
            query.dtype == torch.bfloat16,
            width**-0.5,
            drop_count(dropout),
            draw_seed() if dropout else 0,
            logsumexp.data_ptr(),
        )
        kernels().attention_forward(ctypes.byref(call), _views(*inputs), _views(out))
        ctx.save_for_backward(*inputs, logsumexp, *([] if mask is None else [mask]))
        ctx.call = call
        return out

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        query, key, value, *_ = ctx.saved_tensors
        slope = _rows_contiguous(outer[0])  # a copy, if it is one, has to live until C has read it
        # One piece of memory where all three come from one projection: `unbind` then has nothing to copy.
        slopes = tuple(torch.empty_like(x.transpose(1, 2)).transpose(1, 2) for x in (query, key, value))
        kernels().attention_backward(
            ctypes.byref(ctx.call),
            _views(query, key, value),
            _views(slope),
            _views(*slopes),
        )
        return *slopes, None


def _rows_contiguous(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _views(*tensors: Tensor) -> ctypes.Array[CView]:
    """(batch, heads, length, width) with any strides except along the last axis.

    A view does not keep its tensor alive.
    """
    return (CView * len(tensors))(
        *(CView(x.data_ptr(), x.stride(0), x.stride(1), x.stride(2)) for x in tensors)
    )
