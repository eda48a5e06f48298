"""The CTC loss computed from hidden states without storing all logits (Graves et al. 2006).

A path to a target holds only its tokens and the blank, so no other log-probabilities are kept: the "classes"
of a sentence are 0, the blank, and 1 to the target's length.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from saccade.native import softmax as native
from saccade.nn.linear import product, transposed_product
from saccade.nn.loss import DEVICE_ELEMENTS

_GROUP_ELEMENTS = 1 << 22  # logits held at a time on a CPU: 16 MB in float32


class Slots(NamedTuple):
    """Hidden states and the targets to align them with.

    hidden (batch, slots, width); targets (batch, target) ids; slots, lengths (batch,): number of real slots
    and tokens.
    """

    hidden: Tensor
    targets: Tensor
    slots: Tensor
    lengths: Tensor

    def groups(self, vocabulary: int) -> "Iterator[tuple[slice, Slots]]":
        """Splits the batch into groups of consecutive sentences whose logits fit, without excess padding."""
        elements = _GROUP_ELEMENTS if self.hidden.device.type == "cpu" else DEVICE_ELEMENTS
        rows = max(1, elements // (vocabulary * self.hidden.size(1)))
        for first in range(0, len(self.slots), rows):
            part = slice(first, first + rows)
            slots, lengths = self.slots[part], self.lengths[part]
            longest, words = int(slots.max()), int(lengths.max())
            yield part, Slots(self.hidden[part, :longest], self.targets[part, :words], slots, lengths)

    def real(self) -> Tensor:
        """Mask (batch, slots) of the real slots."""
        return torch.arange(self.hidden.size(1), device=self.slots.device) < self.slots[:, None]

    def classes(self, blank: int) -> Tensor:
        """Ids (batch, target + 1) of the classes: the blank, then the tokens."""
        return torch.cat([torch.full_like(self.targets[:, :1], blank), self.targets], 1)


def class_log_probs(part: Slots, weight: Tensor, *, blank: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities (batch, slots, target + 1) of the classes, and most likely ids (batch, slots).

    weight (vocabulary, width); values at slots that are not real are meaningless.
    """
    real = part.real()
    logits = product(part.hidden[real], weight.to(part.hidden.dtype))
    found = _softmax_of(logits, part, real, blank)
    best = torch.zeros_like(real, dtype=torch.int64)
    best[real] = found.best
    return found.log_probs, best


def linear_ctc(part: Slots, weight: Tensor, *, blank: int, label_smoothing: float = 0.0) -> Tensor:
    """The CTC loss in nats, minus the log of the sum over all paths, summed over the batch; a scalar.

    Logits are hidden weight^T. It equals torch's `ctc_loss` of all logits; targets that do not fit into their
    slots count 0. label_smoothing: share of each slot's target that is spread over the vocabulary (Kim et al.
    2018). Gradients are computed in the forward pass, a few sentences at a time.
    """
    differentiate = torch.is_grad_enabled() and (part.hidden.requires_grad or weight.requires_grad)
    settings = (part.targets, part.slots, part.lengths, blank, label_smoothing, differentiate)
    total: Tensor = _LinearCtc.apply(part.hidden, weight, settings)  # type: ignore[no-untyped-call]
    return total


class _LinearCtc(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, settings: tuple[Any, ...]) -> Tensor:
        targets, slots, lengths, blank, smoothing, differentiate = settings
        device = hidden.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        wide = torch.promote_types(hidden.dtype, torch.float32)
        d_hidden = torch.zeros(hidden.shape, dtype=low, device=hidden.device) if differentiate else None
        d_weight = torch.zeros(weight.shape, dtype=wide, device=hidden.device) if differentiate else None
        total = torch.zeros((), dtype=wide, device=hidden.device)
        with torch.autocast(device, enabled=False):
            low_weight = weight.to(low)
            whole = Slots(hidden.to(low), targets, slots, lengths)
            for place, part in whole.groups(weight.size(0)):
                real = part.real()
                rows = part.hidden[real]
                logits = product(rows, low_weight)
                loss, gradient = _group(logits, part, real, blank, smoothing)
                total += loss
                if d_hidden is None or d_weight is None:
                    continue
                low_gradient = gradient.to(low)
                d_hidden[place, : real.size(1)][real] = product(low_gradient, low_weight.t())
                d_weight += transposed_product(low_gradient, rows)
        ctx.dtypes = hidden.dtype, weight.dtype
        ctx.save_for_backward(d_hidden, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        pairs = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        hidden, weight = ((gradient * outer[0]).to(dtype) for gradient, dtype in pairs)
        return hidden, weight, None


def _group(logits: Tensor, part: Slots, real: Tensor, blank: int, smoothing: float) -> tuple[Tensor, Tensor]:
    """The loss of a few sentences, and its gradient for their logits (real slots, vocabulary).

    logits may be overwritten.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    mean = logits.mean(-1, dtype=wide) if smoothing else None
    softmax, normaliser, _, log_probs = _softmax_of(logits, part, real, blank)
    loss, posterior, room = _posterior(log_probs, part, blank)
    # The gradient of a slot is softmax minus the posterior of its classes, or 0 if the target does not fit.
    sentence = real.nonzero()[:, 0]
    if not bool(room.all()):
        softmax[~room[sentence]] *= smoothing
    if mean is not None:
        loss = (1 - smoothing) * loss + smoothing * (normaliser - mean).sum()
        softmax -= smoothing / softmax.size(1)
    ids = part.classes(blank)[sentence]
    less = softmax.gather(1, ids) - (1 - smoothing) * posterior[real]  # (real slots, target + 1)
    # Not scatter_, which copies all of a bfloat16 matrix twice on a CPU.
    softmax[torch.arange(len(ids), device=ids.device)[:, None], ids] = less.to(softmax.dtype)
    return loss, softmax


class _Softmax(NamedTuple):
    """The softmax of a batch's slots.

    Real slots: softmax (real slots, vocabulary), logsumexp and most likely id (real slots,). All slots:
    log-probabilities of the classes (batch, slots, target + 1), 0 at slots that are not real.
    """

    softmax: Tensor
    normaliser: Tensor
    best: Tensor
    log_probs: Tensor


def _softmax_of(logits: Tensor, part: Slots, real: Tensor, blank: int) -> _Softmax:
    """Computes the softmax of logits (real slots, vocabulary), which may be overwritten."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    classes = part.classes(blank)
    own = logits.gather(1, classes[real.nonzero()[:, 0]]).to(wide)
    if native.serves(logits):
        softmax, (normaliser, best) = logits, native.softmax_(logits)
    else:
        logits = logits.to(wide)
        normaliser, best = logits.logsumexp(-1), logits.argmax(-1)
        softmax = (logits - normaliser[:, None]).exp_()
    log_probs = torch.zeros((*real.shape, classes.size(1)), dtype=wide, device=logits.device)
    log_probs[real] = own - normaliser[:, None]
    return _Softmax(softmax, normaliser, best, log_probs)


def _posterior(log_probs: Tensor, part: Slots, blank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss; the posterior probability of each class in each slot given the target,
    (batch, slots, classes); and a mask (batch,) of the sentences whose target fits. The others count 0."""
    # A repeated token is mapped to its first occurrence: otherwise repetitions would need no blank between.
    classes = part.classes(blank)
    first = (classes[:, :, None] == classes[:, None, :]).int().argmax(2)
    with torch.enable_grad():
        values = log_probs.detach().requires_grad_()
        losses = ctc_loss(
            values.transpose(0, 1),
            first[:, 1:],
            part.slots,
            part.lengths,
            reduction="none",
            zero_infinity=True,
        )
        (gradient,) = torch.autograd.grad(losses.sum(), values)
    room = losses.detach() != 0
    # torch's gradient is that of logits behind a softmax: exp(log_probs) - posterior.
    posterior = (log_probs.exp() - gradient).masked_fill_(~room[:, None, None], 0.0)
    posterior.masked_fill_(~part.real()[..., None], 0.0)
    return losses.detach().sum(), posterior.gather(2, first[:, None].expand_as(posterior)), room
