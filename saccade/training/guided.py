"""Guided alignment: a loss that pulls one head of cross-attention to given word alignments.

Chen et al. 2016, "Guided Alignment Training for Topic-Aware Neural Machine Translation"; for one head of a
Transformer Garg et al. 2019, "Jointly Learning to Align and Translate with Transformer Models".
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.models.families import Seq2Seq
from saccade.models.recording import cross_attention, head_weights
from saccade.text.batching import Batch, PaddedColumn
from saccade.training.objective import CrossEntropy, Objective

_LEAST = torch.finfo(torch.float32).tiny
"""The smallest weight that is taken the logarithm of; softmax rounds smaller ones to 0."""


@dataclass(frozen=True)
class GuidedAlignment(Objective):
    """Another objective plus `weight` times the cost of the attention of one head; see `alignment_cost`.

    layer, head: from 1; layers are those with cross-attention. Position t attends when it writes token t, so
    that its row is compared with the links of token t.
    """

    likelihood: CrossEntropy
    weight: float
    layer: int
    head: int

    def __call__(self, model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
        """See `Objective`."""
        module = cross_attention(model)[self.layer - 1]
        with head_weights(module, self.head - 1) as weights:
            total = self.likelihood(model, batch)
        # A recurrent decoder attends once for each position.
        return total + self.weight * alignment_cost(torch.cat(weights, 1), batch["alignments"])


def alignment_cost(weights: Tensor, links: PaddedColumn) -> Tensor:
    """Minus the logarithms of the weights of linked positions, their mean for each target token, summed.

    This is the cross-entropy of the attention to a distribution that is even over the source tokens that a
    target token is linked with. A target token without links costs nothing. weights (batch, target, source);
    links: values (batch, links, 2) of source and target positions.
    """
    real = links.real  # (batch, links)
    row = torch.arange(len(real), device=real.device)[:, None].expand_as(real)[real]
    source, target = links.values[real].unbind(-1)
    counts = weights.new_zeros(weights.shape[:2])
    counts.index_put_((row, target), weights.new_ones(()), accumulate=True)
    cost = -weights[row, target, source].clamp(min=_LEAST).log() / counts[row, target]
    return cost.sum()
