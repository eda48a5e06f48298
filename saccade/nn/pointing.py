"""The blocks of a pointer network (Vinyals et al. 2015): numbers as inputs, and scores over these inputs."""

import math

import torch
from torch import Tensor, nn

from saccade.nn.dropout import Dropout
from saccade.nn.linear import Linear
from saccade.nn.scores import AdditiveAlignment, ProjectedMemory


class NumberEmbedding(nn.Module):
    """Embeds inputs of several numbers each, behind a learned mark, which has position 0.

    An answer begins and ends with the mark: it is what the decoder reads first, and what it points at last.
    """

    def __init__(self, numbers: int, width: int, *, positions: nn.Module, dropout: float) -> None:
        super().__init__()
        self.project = Linear(numbers, width)
        self.mark = nn.Parameter(torch.empty(width))
        # About as large as the positions that are added, whatever the width.
        for weight in (self.project.weight, self.mark):
            nn.init.normal_(weight, std=1.0)
        nn.init.zeros_(self.project.bias)
        self.positions = positions
        self.dropout = Dropout(dropout)

    def forward(self, source: Tensor) -> Tensor:
        """Embeds numbers (batch, source, numbers); returns (batch, 1 + source, width), the mark first."""
        projected = self.project(source.to(self.mark.dtype))
        mark = self.mark.to(projected.dtype).expand(source.size(0), 1, -1)
        embedded: Tensor = self.dropout(self.positions(torch.cat([mark, projected], 1)))
        return embedded


class PointerScores(AdditiveAlignment):
    """The score v . tanh(W1 e_j + W2 d_i) of each input e_j for a decoder state d_i (Vinyals et al., eq. 3).

    The scores themselves are the logits of the answer, so that their softmax is both the attention and the
    distribution over inputs.
    """

    def forward(self, x: Tensor, memory: ProjectedMemory, *, visible: Tensor | None = None) -> Tensor:
        """Scores (batch, query, source) of x (batch, query, state width); -inf where nothing is visible.

        visible (batch, 1, 1, source), True = may be pointed at.
        """
        scores = self.scores(x, memory[0])
        return scores if visible is None else scores.masked_fill(~visible[:, 0], -math.inf)
