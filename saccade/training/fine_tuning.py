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
"""Drawn fertilities add up to at most this number of target pieces for each source piece, and this number
more."""


@dataclass(frozen=True)
class FineTuning(Objective):
    """share * (L_RL + L_BP) + (1 - share) * L_KD.

    L_KD is `likelihood`. L_BP is the cost at the known fertilities, with its gradient for the words. L_RL
    has REINFORCE's gradient for the fertilities: one sequence is drawn, its cost compared with that of the
    rounded mean fertilities.

    The cost of fertilities f is -sum over t and y of p_student(y at t | f) log p_teacher(y | words before t),
    the words being the student's likeliest, plus -log p_teacher(end), without which fewer words always cost
    less. The paper's equation 10 has neither the minus nor the end.
    """

    likelihood: FertilityCrossEntropy
    teacher: Seq2Seq[Any, Any]
    share: float

    def __call__(self, model: NonAutoregressiveTransformer, batch: Batch) -> Tensor:
        """See `Objective`."""
        source, scheme = batch["source"], Fertility(model)
        memory = model.encode(source.values, source.lengths)
        log_probs = scheme.logits(memory).float().log_softmax(-1)
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
        """(batch,) nats; see the class. fertilities (batch, source); read: the teacher's memory."""
        hidden, lengths = scheme.write(fertilities, memory)
        student = scheme.body.output(hidden).float().log_softmax(-1)
        with torch.no_grad():
            # Never a special id: the teacher would not know what to make of it.
            allowed = student.detach().clone()
            vocabulary = self.teacher.vocabulary
            allowed[..., [vocabulary.pad, vocabulary.start, vocabulary.end]] = -torch.inf
            start = torch.full_like(lengths, vocabulary.start)[:, None]
            words = torch.cat([start, allowed.argmax(-1)], 1)
            judged = self.teacher.output(self.teacher.decode(words, read)).float().log_softmax(-1)
        each = -(student.exp() * judged[:, :-1]).sum(-1)
        real = torch.arange(each.size(1), device=each.device) < lengths[:, None]
        end = judged[..., vocabulary.end].gather(1, lengths[:, None]).squeeze(1)
        total: Tensor = each.masked_fill(~real, 0.0).sum(1) - end
        return total


def reinforce(log_prob: Tensor, cost: Tensor, baseline: Tensor) -> Tensor:
    """A sum whose gradient estimates that of the expected cost: (cost - baseline) times the gradient of the
    draw's log-probability (Williams 1992). All (batch,)."""
    return ((cost - baseline).detach() * log_prob).sum()


def drawn_fertilities(log_probs: Tensor) -> Tensor:
    """One of each place's distribution (batch, source, classes), from torch's global generator."""
    return torch.multinomial(log_probs.detach().exp().flatten(0, 1), 1).view(log_probs.shape[:2])


def mean_fertilities(log_probs: Tensor) -> Tensor:
    """Each place's mean, rounded: (batch, source)."""
    counts = torch.arange(log_probs.size(-1), device=log_probs.device, dtype=log_probs.dtype)
    return (log_probs.detach().exp() @ counts).round().long()


def bounded(fertilities: Tensor, real: Tensor) -> Tensor:
    """Without those of end symbols and padding, and without what goes beyond a generous length."""
    return cut_sums(fertilities * real, (real.sum(1) * _RATIO).long() + _EXTRA)
