"""CTC: the likeliest path, collapsed."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.likeliest import likeliest, rows_of, special
from saccade.models.interface import Aligned


def decode_aligned(model: Aligned, source: Tensor, source_lengths: Tensor) -> list[list[Hypothesis]]:
    """One hypothesis a sentence. log_prob and score: of the likeliest path, one of the many that collapse
    to the same words."""
    hidden, lengths = model.write(model.encode(source, source_lengths))
    real = torch.arange(hidden.size(1), device=hidden.device) < lengths[:, None]
    never = [token for token in special(model) if token != model.blank]
    path = torch.full(real.shape, model.blank, device=hidden.device)
    log_probs = torch.zeros(real.shape, dtype=torch.float64, device=hidden.device)
    tokens, found = likeliest(model, hidden[real], never=never)
    path[real], log_probs[real] = tokens, found.double()
    totals = log_probs.sum(1).tolist()
    return [
        [Hypothesis(tuple(collapse(row, blank=model.blank)), total, total, path=tuple(row))]
        for row, total in zip(rows_of(path, lengths), totals, strict=True)
    ]


def aligned_log_probs(
    model: Aligned, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
) -> Tensor:
    """Log-probability in nats of each target, all its paths together; float64 (batch,), -inf where a target
    has no room in the slots. targets: ids without end symbol."""
    hidden, slots = model.write(model.encode(source, source_lengths))
    log_probs = model.output(hidden).log_softmax(-1, dtype=torch.float32).double().transpose(0, 1)
    lengths = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([token for target in targets for token in target], device=source.device)
    loss = ctc_loss(log_probs, flat, slots, lengths, blank=model.blank, reduction="none")
    return -loss


def collapse(path: list[int], *, blank: int) -> list[int]:
    """Repetitions to one, then blanks out (Graves et al. 2006, section 3.1)."""
    return [token for token, _ in groupby(path) if token != blank]
