"""Fine-tuning a fertility model by its teacher (Gu et al. 2018, section 4.3, equations 10 and 11)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.nonautoregressive.fertility import cut_sums
from saccade.models.families import Seq2Seq
from saccade.models.nonautoregressive.fertility import Fertility
from saccade.models.nonautoregressive.interface import AnyMemory
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.text.batching import Batch
from saccade.training.fertility import FertilityCrossEntropy
from saccade.training.objective import Objective

_RATIO, _EXTRA = 2.0, 10
"""Limits of drawn fertilities: target pieces for each source piece, and further ones."""


@dataclass(frozen=True)
class FineTuning(Objective):
    """The loss share * (L_RL + L_BP) + (1 - share) * L_KD.

    L_KD is `likelihood`. L_BP is the cost at the known fertilities, with its gradient for the words. L_RL has
    REINFORCE's gradient for the fertilities: one sequence is drawn, and its cost is compared with that of the
    rounded mean fertilities.

    The cost of fertilities f is -sum over t and y of p_student(y at t | f) log p_teacher(y | words before t),
    where the words are the student's most likely ones, plus -log p_teacher(end), without which fewer words
    always cost less. The paper's equation 10 has neither the minus sign nor the end.
    """

    likelihood: FertilityCrossEntropy
    teacher: Seq2Seq[Any, Any]
    share: float

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        source, scheme = batch["source"], Fertility(model)
        memory = model.encode(source.values, source.lengths)
        log_probs = scheme.logits(memory).float().log_softmax(-1)  # (batch, source, classes)
        real = scheme.has_fertility(memory)
        drawn, mean = drawn_fertilities(log_probs), mean_fertilities(log_probs)
        chosen = log_probs.gather(2, drawn[..., None]).squeeze(2).masked_fill(~real, 0.0).sum(1)
        with torch.no_grad():
            read = self.teacher.encode(source.values, source.lengths)
            cost = self.cost(scheme, memory, bounded(drawn, real), read)
            baseline = self.cost(scheme, memory, bounded(mean, real), read)
        reinforced = reinforce(chosen, cost, baseline)
        propagated = self.cost(scheme, memory, batch["fertilities"].values, read).sum()
        known = self.likelihood(model, batch)
        return self.share * (reinforced + propagated) + (1 - self.share) * known

    def cost(self, scheme: Fertility, memory: AnyMemory, fertilities: Tensor, read: Any) -> Tensor:
        """The cost in nats (batch,) of fertilities (batch, source); read: the teacher's memory."""
        hidden, lengths = scheme.write(fertilities, memory)
        student = scheme.body.output(hidden).float().log_softmax(-1)  # (batch, target, vocabulary)
        with torch.no_grad():
            # No special ids, which the teacher has never read there.
            allowed = student.detach().clone()
            vocabulary = self.teacher.vocabulary
            allowed[..., [vocabulary.pad, vocabulary.start, vocabulary.end]] = -torch.inf
            start = torch.full_like(lengths, vocabulary.start)[:, None]
            words = torch.cat([start, allowed.argmax(-1)], 1)  # (batch, 1 + target)
            judged = self.teacher.output(self.teacher.decode(words, read)).float().log_softmax(-1)
        each = -(student.exp() * judged[:, :-1]).sum(-1)
        real = torch.arange(each.size(1), device=each.device) < lengths[:, None]
        end = judged[..., vocabulary.end].gather(1, lengths[:, None]).squeeze(1)
        total: Tensor = each.masked_fill(~real, 0.0).sum(1) - end
        return total


def reinforce(log_prob: Tensor, cost: Tensor, baseline: Tensor) -> Tensor:
    """A scalar whose gradient estimates that of the expected cost (REINFORCE, Williams 1992).

    The gradient is (cost - baseline) times that of the draw's log-probability. All arguments are (batch,).
    """
    return ((cost - baseline).detach() * log_prob).sum()


def drawn_fertilities(log_probs: Tensor) -> Tensor:
    """Draws a fertility from each distribution (batch, source, classes), with torch's global generator."""
    return torch.multinomial(log_probs.detach().exp().flatten(0, 1), 1).view(log_probs.shape[:2])


def mean_fertilities(log_probs: Tensor) -> Tensor:
    """The rounded mean fertility (batch, source) of each distribution (batch, source, classes)."""
    counts = torch.arange(log_probs.size(-1), device=log_probs.device, dtype=log_probs.dtype)
    return (log_probs.detach().exp() @ counts).round().long()


def bounded(fertilities: Tensor, real: Tensor) -> Tensor:
    """The fertilities without those of end symbols and padding, cut to a generous total length."""
    return cut_sums(fertilities * real, (real.sum(1) * _RATIO).long() + _EXTRA)
