"""The objective of rankers: the log-loss of what was chosen, for each candidate or for each list."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from saccade.models.families import Ranker
from saccade.text.batching import Batch
from saccade.text.ranking import LABELS
from saccade.training.objective import Objective


@dataclass(frozen=True)
class ChoiceLoss(Objective):
    """Minus the log-probability of the labels, in nats, summed over candidates or, listwise, over lists.

    A list without a choice counts nothing listwise; of several, each has an equal share.
    """

    listwise: bool

    def __call__(self, model: Ranker, batch: Batch) -> Tensor:
        """See `Objective`."""
        labels = batch[LABELS]
        scores, wanted = model.scores(batch.columns).float(), labels.values.float()  # (lists, candidates)
        if not self.listwise:
            each = binary_cross_entropy_with_logits(scores, wanted, reduction="none")
            return each.masked_fill(~labels.real, 0.0).sum()
        log_probs = (
            scores.masked_fill(~labels.real, -torch.inf).log_softmax(-1).masked_fill(~labels.real, 0.0)
        )
        wanted = wanted.masked_fill(~labels.real, 0.0)
        shares = wanted / wanted.sum(-1, keepdim=True).clamp(min=1.0)
        return -(shares * log_probs).sum()
