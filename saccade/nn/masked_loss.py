"""The loss of padded positions, for GPUs: nothing waits for the device, and all shapes are known beforehand.

`loss.py` computes the same for CPUs, where padding is cut out first.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saccade.nn.loss import DEVICE_ELEMENTS

RowLoss = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""The interface of `softmax_loss`."""


def softmax_loss(logits: Tensor, gold: Tensor, real: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """The summed smoothed cross-entropy of logits (rows, classes), and its gradient in their precision.

    gold (rows,); real (rows,): False for rows that count nothing. torch.compile makes one kernel of it.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    normaliser = wide.logsumexp(-1, keepdim=True)  # (rows, 1)
    gold_logit = wide.gather(1, gold[:, None])
    losses = normaliser - (1 - smoothing) * gold_logit - smoothing * wide.mean(-1, keepdim=True)
    classes = torch.arange(logits.size(1), device=logits.device)
    target = (classes == gold[:, None]).to(wide.dtype) * (1 - smoothing) + smoothing / logits.size(1)
    gradient = ((wide - normaliser).exp() - target) * real[:, None]
    return (losses.squeeze(1) * real).sum(), gradient.to(logits.dtype)


def masked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gold: Tensor,
    real: Tensor,
    *,
    label_smoothing: float = 0.0,
    row_loss: RowLoss = softmax_loss,
) -> Tensor:
    """`linear_cross_entropy` of the positions where `real` is True, in nats, as a scalar.

    hidden (..., width), gold and real (...). row_loss: `softmax_loss` or a compiled form of it.
    """
    differentiate = torch.is_grad_enabled()
    settings = (label_smoothing, differentiate, row_loss)
    total: Tensor = _MaskedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, -2), weight, bias, gold.flatten(), real.flatten(), settings
    )
    return total


class _MaskedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gold: Tensor,
        real: Tensor,
        settings: tuple[float, bool, RowLoss],
    ) -> Tensor:
        smoothing, differentiate, row_loss = settings
        low = _precision(hidden)
        low_hidden, low_weight = hidden.to(low), weight.to(low)
        low_bias = None if bias is None else bias.to(low)
        wide = torch.promote_types(low, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        d_hidden = torch.empty_like(low_hidden)
        d_weight, d_bias = torch.zeros_like(weight), None if bias is None else torch.zeros_like(bias)
        rows = max(64, DEVICE_ELEMENTS // weight.size(0))
        with _without_autocast(hidden):
            for first in range(0, hidden.size(0), rows):
                part = slice(first, first + rows)
                logits = torch.nn.functional.linear(low_hidden[part], low_weight, low_bias)
                loss, gradient = row_loss(logits, gold[part], real[part], smoothing)
                total += loss
                if not differentiate:
                    continue
                torch.mm(gradient, low_weight, out=d_hidden[part])
                d_weight += gradient.t() @ low_hidden[part]
                if d_bias is not None:
                    d_bias += gradient.sum(0, dtype=wide)
        ctx.precision = hidden.dtype
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        hidden, weight, bias = ctx.saved_tensors
        scale = outer[0]
        own = (hidden * scale).to(ctx.precision)
        return own, weight * scale, None if bias is None else bias * scale, None, None, None


def _precision(x: Tensor) -> torch.dtype:
    """The number type of matrix products: the one that autocast chose, or otherwise that of x."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def _without_autocast(x: Tensor) -> contextlib.AbstractContextManager[object]:
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)
