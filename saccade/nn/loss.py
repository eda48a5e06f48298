"""Label-smoothed cross-entropy computed from hidden states without storing all logits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from saccade.native import softmax as native
from saccade.nn.linear import product, transposed_product

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time on a CPU: 16 MB in float32, 8 in bfloat16
DEVICE_ELEMENTS = 1 << 26  # and on a GPU, which works on many rows at a time


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, gold: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Summed smoothed cross-entropy of logits = hidden weight^T + bias, in nats, as a scalar.

    hidden (tokens, width), weight (vocabulary, width), gold (tokens,). The target distribution is 1 - e + e/V
    for gold and e/V for every other class (Szegedy et al. 2016, section 7; as torch's `cross_entropy`).
    Logits exist for a few rows at a time, and their gradient, softmax minus target, is computed in the
    forward pass, so that memory does not grow with tokens x vocabulary.
    """
    # Inside the function torch reports gradients as disabled, and as needed even under no_grad.
    differentiate = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias)
    )
    total: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, gold, (label_smoothing, differentiate)
    )
    return total


def projected_cross_entropy(
    output: Callable[[Tensor], Tensor], hidden: Tensor, gold: Tensor, *, classes: int, label_smoothing: float
) -> Tensor:
    """`linear_cross_entropy` for an output layer that is not linear.

    hidden (tokens, ...), gold (tokens,); output: maps hidden states to logits (tokens, classes). Logits exist
    for some rows at a time; they are computed a second time for the gradient.
    """
    elements = _CHUNK_ELEMENTS if hidden.device.type == "cpu" else DEVICE_ELEMENTS
    rows = max(64, elements // classes)

    def loss(part: Tensor, answers: Tensor) -> Tensor:
        logits = output(part)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return cross_entropy(wide, answers, reduction="sum", label_smoothing=label_smoothing)

    total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
    for part, answers in zip(hidden.split(rows), gold.split(rows), strict=True):
        total = total + checkpoint(loss, part, answers, use_reentrant=False, preserve_rng_state=False)
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gold: Tensor,
        settings: tuple[float, bool],
    ) -> Tensor:
        smoothing, differentiate = settings
        device = hidden.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            total, *gradients = _forward_and_gradients(
                hidden.to(low),
                weight,
                low_weight=weight.to(low),
                bias=bias,
                gold=gold,
                smoothing=smoothing,
                differentiate=differentiate,
            )
        ctx.hidden_dtype = hidden.dtype
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        hidden, weight, bias = ctx.saved_tensors
        scale = outer[0]
        return (
            (hidden * scale).to(ctx.hidden_dtype),
            weight * scale,
            None if bias is None else bias * scale,
            None,
            None,
        )


def _forward_and_gradients(
    hidden: Tensor,
    weight: Tensor,
    *,
    low_weight: Tensor,
    bias: Tensor | None,
    gold: Tensor,
    smoothing: float,
    differentiate: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The loss and its gradients for hidden, weight and bias; that of logits is softmax - (1-e) onehot - e/V.

    The uniform part e/V is never added to a chunk of logits: summed over classes it is a product with the
    mean row of the weight, one vector per token, and its gradients have rank one.
    """
    vocabulary = weight.size(0)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.zeros((), dtype=wide, device=hidden.device)
    mean_weight = weight.mean(0).to(wide)
    mean_bias = 0.0 if bias is None else bias.mean()
    d_hidden = torch.empty_like(hidden) if differentiate else None
    d_weight: Tensor | None = None
    d_bias = torch.zeros_like(bias) if differentiate and bias is not None else None
    elements = _CHUNK_ELEMENTS if hidden.device.type == "cpu" else DEVICE_ELEMENTS
    rows = max(64, elements // vocabulary)
    for start in range(0, hidden.size(0), rows):
        piece, answer = hidden[start : start + rows], gold[start : start + rows, None]
        logits = product(piece, low_weight)  # (rows, vocabulary)
        if bias is not None:
            logits = logits + bias
        losses, gold_logits, gradient = _softmax_gradient(logits, answer, smoothing=smoothing, wide=wide)
        total += losses.sum()
        if smoothing:
            # e (z_gold - mean z): the cost of moving mass e from gold to all classes.
            mean_logit = (piece.to(wide) @ mean_weight + mean_bias).sum()
            total += smoothing * (gold_logits.sum() - mean_logit)
        if d_hidden is None:
            continue
        if d_bias is not None:
            d_bias += gradient.sum(0)
        low_gradient = gradient.to(hidden.dtype)
        d_hidden[start : start + rows] = product(low_gradient, low_weight.t())
        part = transposed_product(low_gradient, piece)
        d_weight = part.to(weight.dtype) if d_weight is None else d_weight.add_(part)
    if d_hidden is not None:
        d_weight = torch.zeros_like(weight) if d_weight is None else d_weight.contiguous()
    if smoothing and d_hidden is not None and d_weight is not None:
        d_hidden -= (smoothing * mean_weight).to(d_hidden.dtype)
        d_weight -= (smoothing / vocabulary) * hidden.sum(0, dtype=wide).to(d_weight.dtype)
        if d_bias is not None:
            d_bias -= smoothing * hidden.size(0) / vocabulary
    return total, d_hidden, d_weight, d_bias


def _softmax_gradient(
    logits: Tensor, gold: Tensor, *, smoothing: float, wide: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and logit of gold, each (rows,) or (rows, 1), and softmax less 1 - smoothing at gold.

    logits (rows, classes) may be overwritten; gold (rows, 1).
    """
    if native.serves(logits):
        losses, gold_logits = native.softmax_gradient_(logits, gold[:, 0], smoothing=smoothing)
        return losses, gold_logits, logits
    gold_logits = logits.gather(1, gold).to(wide)
    log_probs = logits.log_softmax(-1, dtype=wide)
    losses = -log_probs.gather(1, gold)
    gradient = log_probs.exp_().scatter_add_(1, gold, torch.full_like(losses, smoothing - 1))
    return losses, gold_logits, gradient
