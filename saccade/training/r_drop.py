"""R-Drop: two passes with different dropout, which are drawn towards each other (Liang et al. 2021)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.models.families import LanguageModel, Seq2Seq
from saccade.nn.r_drop import linear_r_drop
from saccade.text.batching import Batch
from saccade.training.objective import CrossEntropy, NextToken, Objective
from saccade.training.streams import Segments


@dataclass(frozen=True)
class RDrop(Objective):
    """Cross-entropy with teacher forcing, and the symmetric divergence of two passes over each pair.

    Both passes run as one batch of twice the rows, so that dropout differs between them. strength: the
    paper's alpha; see `linear_r_drop` for the loss. Outside training it is plain cross-entropy.
    """

    strength: float
    label_smoothing: float = 0.0

    def __call__(self, model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
        """See `Objective`."""
        if not model.training:
            return CrossEntropy(self.label_smoothing)(model, batch)
        source, target = batch["source"], batch["target"]
        memory = model.encode(_twice(source.values), _twice(source.lengths))
        hidden = model.decode(_twice(batch["target_in"].values), memory)  # (2 batch, target, width)
        real = target.real  # (batch, target)
        total: Tensor = linear_r_drop(
            hidden.unflatten(0, (2, -1))[:, real],  # (2, tokens, width)
            model.output.weight,
            model.output.bias,
            target.values[real],
            strength=self.strength,
            label_smoothing=self.label_smoothing,
        )
        return total


@dataclass(frozen=True)
class RDropNextToken(Objective):
    """Cross-entropy of each next token, and the symmetric divergence of two passes over each segment.

    Both passes begin with the same memory, and that of the first passes to the next segment.
    """

    strength: float
    label_smoothing: float = 0.0

    def __call__(self, model: LanguageModel, batch: Segments) -> Tensor:
        """See `Objective`."""
        if not model.training:
            return NextToken(self.label_smoothing)(model, batch)
        memory = tuple(_twice(part) for part in batch.memory)
        hidden, memory = model.read(_twice(batch.tokens), memory)  # (2 rows, length, width)
        batch.carry(tuple(part[: batch.rows] for part in memory))
        real = batch.gold != batch.pad
        total: Tensor = linear_r_drop(
            hidden.unflatten(0, (2, -1))[:, real],  # (2, tokens, width)
            model.output.weight,
            model.output.bias,
            batch.gold[real],
            strength=self.strength,
            label_smoothing=self.label_smoothing,
        )
        return total


def _twice(x: Tensor) -> Tensor:
    """The rows of x, and the same rows again."""
    return torch.cat([x, x])
