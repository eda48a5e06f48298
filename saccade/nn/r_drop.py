"""The loss of R-Drop, computed from hidden states without storing all logits (Liang et al. 2021)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from saccade.native import softmax as native
from saccade.nn.linear import product, transposed_product

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB in float32, 8 in bfloat16


# Not compiled, because each number of tokens would need its own compilation of the loop over chunks.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def linear_r_drop(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gold: Tensor,
    *,
    strength: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Summed R-Drop loss of two passes with logits = hidden weight^T + bias, in nats, as a scalar.

    hidden (2, tokens, width), the two passes; weight (vocabulary, width), gold (tokens,). With p and q for
    the two distributions of a token, its loss is the mean of the two smoothed cross-entropies (see
    `linear_cross_entropy`) plus strength / 4 (KL(p || q) + KL(q || p)). This is half of the paper's equation
    4, so that `strength` is its alpha and the loss remains in nats per token. Gradients are computed in the
    forward pass, for a few rows at a time.
    """
    differentiate = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias)
    )
    settings = _Settings(strength, label_smoothing, differentiate)
    total: Tensor = _LinearRDrop.apply(hidden, weight, bias, gold, settings)  # type: ignore[no-untyped-call]
    return total


class _Settings(NamedTuple):
    strength: float
    smoothing: float
    differentiate: bool


class _LinearRDrop(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by position
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, gold: Tensor, settings: _Settings
    ) -> Tensor:
        device = hidden.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            total, *gradients = _forward_and_gradients(hidden.to(low), weight, bias, gold, settings)
        ctx.hidden_dtype = hidden.dtype
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        hidden, weight, bias = ctx.saved_tensors
        scale = outer[0]
        wide = None if bias is None else bias * scale
        return (hidden * scale).to(ctx.hidden_dtype), weight * scale, wide, None, None


def _forward_and_gradients(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, gold: Tensor, settings: _Settings
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The loss and its gradients for hidden, weight and bias."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.zeros((), dtype=wide, device=hidden.device)
    low_weight = weight.to(hidden.dtype)
    d_hidden = torch.empty_like(hidden) if settings.differentiate else None
    d_weight = torch.zeros_like(weight) if settings.differentiate else None
    d_bias = None if bias is None or not settings.differentiate else torch.zeros_like(bias)
    rows = max(32, _CHUNK_ELEMENTS // (2 * weight.size(0)))
    for start in range(0, hidden.size(1), rows):
        piece = hidden[:, start : start + rows].flatten(0, 1)  # (2 rows, width)
        logits = product(piece, low_weight)  # (2 rows, vocabulary)
        if bias is not None:
            logits = logits + bias
        losses, gradient = _pair_gradient(logits, gold[start : start + rows], settings, wide=wide)
        total += losses.sum()
        if d_hidden is None or d_weight is None:
            continue
        if d_bias is not None:
            d_bias += gradient.sum(0)
        low_gradient = gradient.to(hidden.dtype)
        d_hidden[:, start : start + rows] = product(low_gradient, low_weight.t()).unflatten(0, (2, -1))
        d_weight += transposed_product(low_gradient, piece).to(weight.dtype)
    return total, d_hidden, d_weight, d_bias


def _pair_gradient(
    logits: Tensor, gold: Tensor, settings: _Settings, *, wide: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The loss of each token (rows,), and its gradient for the logits of both passes (2 rows, classes).

    logits may be overwritten.
    """
    strength, smoothing, _ = settings
    if native.serves(logits):
        return native.r_drop_gradient_(logits, gold, smoothing=smoothing, strength=strength), logits
    log_probs = logits.log_softmax(-1, dtype=wide).unflatten(0, (2, -1))  # (2, rows, classes)
    probs = log_probs.exp()
    own = log_probs.gather(2, gold.expand(2, -1)[..., None]).squeeze(2)
    entropies = -(1 - smoothing) * own - smoothing * log_probs.mean(2)  # (2, rows)
    apart = log_probs[0] - log_probs[1]  # log p - log q
    between = (probs[0] - probs[1]) * apart  # summed over classes: KL(p || q) + KL(q || p)
    losses = entropies.mean(0) + strength / 4 * between.sum(1)
    target = torch.full_like(probs, smoothing / probs.size(2))
    target.scatter_add_(2, gold.expand(2, -1)[..., None], torch.full_like(own[..., None], 1 - smoothing))
    towards = torch.stack([apart, -apart])
    pull = probs * (1 + towards - (probs * towards).sum(2, keepdim=True)) - probs.flip(0)
    return losses, ((probs - target) / 2 + strength / 4 * pull).flatten(0, 1)
