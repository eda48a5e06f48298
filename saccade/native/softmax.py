"""Softmax, and softmax minus target, in one pass over the logits (softmax.c)."""

import torch
from torch import Tensor

from saccade.native.library import kernels, library


def serves(logits: Tensor) -> bool:
    """Whether the kernel can take these logits."""
    return (
        logits.device.type == "cpu"
        and logits.dtype in {torch.float32, torch.bfloat16}
        and library() is not None
    )


def softmax_gradient_(logits: Tensor, gold: Tensor, *, smoothing: float) -> tuple[Tensor, Tensor]:
    """Replaces logits (rows, classes) by softmax - (1 - smoothing) at gold, in place.

    gold (rows,) or (rows, 1), int64. Returns the cross-entropy in nats and the logit of gold, both (rows,)
    float32.
    Raises IndexError, and changes nothing, if a target is not one of the classes.
    """
    rows, classes = logits.shape
    gold = gold.to(torch.int64).contiguous()
    if gold.numel() != rows:
        raise ValueError(f"{tuple(gold.shape)} targets for {rows} rows of logits")
    loss, gold_logit = torch.empty(2, rows).unbind()
    kernels().softmax_gradient(
        logits.data_ptr(),
        rows,
        classes,
        gold.data_ptr(),
        smoothing,
        loss.data_ptr(),
        gold_logit.data_ptr(),
        logits.dtype == torch.bfloat16,
    )
    return loss, gold_logit


def softmax_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Replaces logits (rows, classes) by their softmax, in place.

    Returns logsumexp, float32, and the likeliest class, of equals the first, int64; both (rows,).
    """
    rows, classes = logits.shape
    normaliser, argmax = torch.empty(rows), torch.empty(rows, dtype=torch.int64)
    kernels().softmax_rows(
        logits.data_ptr(),
        rows,
        classes,
        normaliser.data_ptr(),
        argmax.data_ptr(),
        logits.dtype == torch.bfloat16,
    )
    return normaliser, argmax


def r_drop_gradient_(logits: Tensor, gold: Tensor, *, smoothing: float, strength: float) -> Tensor:
    """Replaces logits (2 rows, classes), those of two passes, by the gradient of R-Drop, in place.

    gold (rows,). Returns the loss (rows,) in nats, float32; see `saccade.nn.r_drop.linear_r_drop`. Raises
    IndexError, and changes nothing, if a target is not one of the classes.
    """
    both, classes = logits.shape
    gold = gold.to(torch.int64).contiguous()
    if 2 * gold.numel() != both or not logits.is_contiguous():
        raise ValueError(f"{tuple(gold.shape)} targets for two passes with {both} rows of logits")
    loss = torch.empty(gold.numel())
    kernels().r_drop_gradient(
        logits.data_ptr(),
        gold.numel(),
        classes,
        gold.data_ptr(),
        smoothing,
        strength,
        loss.data_ptr(),
        logits.dtype == torch.bfloat16,
    )
    return loss
