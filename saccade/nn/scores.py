"""The attention of recurrent decoders: one head, whose scores are an alignment model (Bahdanau et al. 2015,
section 3.1; Luong et al. 2015, section 3.1).

h_j are the encoder's annotations, s the decoder's states. `project_memory` computes the part that does not
depend on s once for each sentence; all queries of the sentence (positions or hypotheses) share it.
"""

import math

import torch
from torch import Tensor, nn

from saccade.nn.linear import Linear
from saccade.nn.recorded import AttentionModule

ProjectedMemory = tuple[Tensor, Tensor]
"""Keys (batch, source, score width) and annotations (batch, source, annotation width)."""


class Alignment(AttentionModule):
    """Attention of states s over annotations h_j; subclasses define the score."""

    kind = "cross"

    def project_memory(self, annotations: Tensor) -> ProjectedMemory:
        """The keys of annotations (batch, source, annotation width), and the annotations themselves."""
        raise NotImplementedError

    def scores(self, x: Tensor, keys: Tensor) -> Tensor:
        """Scores (batch, query, source) of x (batch, query, state width) and keys from `project_memory`."""
        raise NotImplementedError

    def forward(self, x: Tensor, memory: ProjectedMemory, *, visible: Tensor | None = None) -> Tensor:
        """Contexts (batch, query, annotation width) of x (batch, query, state width).

        visible (batch, 1, 1, source), True = may attend, hides padding.
        """
        return self._probabilities(x, memory[0], visible=visible) @ memory[1]

    def weights(self, x: Tensor, memory: ProjectedMemory, *, visible: Tensor | None = None) -> Tensor:
        """Weights (batch, 1, query, source) for the same arguments as `forward`."""
        return self._probabilities(x, memory[0], visible=visible)[:, None]

    def _probabilities(self, x: Tensor, keys: Tensor, *, visible: Tensor | None) -> Tensor:
        scores = self.scores(x, keys)
        if visible is not None:
            scores = scores.masked_fill(~visible[:, 0], -math.inf)
        return scores.softmax(-1)


class AdditiveAlignment(Alignment):
    """The score v . tanh(W s + U h_j), Bahdanau's, and Luong's "concat", whose matrix is [W, U]."""

    def __init__(self, state_width: int, annotation_width: int, *, width: int) -> None:
        super().__init__()
        self.query = Linear(state_width, width, bias=False)
        self.key = Linear(annotation_width, width, bias=False)
        self.score = nn.Parameter(torch.empty(width))
        for weight in (self.query.weight, self.key.weight, self.score[None]):
            nn.init.xavier_uniform_(weight)

    def project_memory(self, annotations: Tensor) -> ProjectedMemory:
        """See `Alignment.project_memory`; keys are 2 U h_j, see `scores`."""
        return 2 * self.key(annotations), annotations

    def scores(self, x: Tensor, keys: Tensor) -> Tensor:
        """See `Alignment.scores`. It uses tanh(z) = 2 sigmoid(2 z) - 1 without the constant, which cancels.

        On CPUs torch's sigmoid is several times faster than its tanh, and this is the largest tensor of the
        model.
        """
        sums = (2 * self.query(x))[:, :, None] + keys[:, None]  # (batch, query, source, score width)
        scores: Tensor = sums.sigmoid_() @ (2 * self.score)
        return scores


class DotAlignment(Alignment):
    """The score s . h_j, Luong's "dot"; states and annotations must be equally wide."""

    def project_memory(self, annotations: Tensor) -> ProjectedMemory:
        """See `Alignment.project_memory`; the keys are the annotations."""
        return annotations, annotations

    def scores(self, x: Tensor, keys: Tensor) -> Tensor:
        """See `Alignment.scores`."""
        return x @ keys.transpose(1, 2)


class GeneralAlignment(DotAlignment):
    """The score s . W h_j, Luong's "general"."""

    def __init__(self, state_width: int, annotation_width: int) -> None:
        super().__init__()
        self.key = Linear(annotation_width, state_width, bias=False)
        nn.init.xavier_uniform_(self.key.weight)

    def project_memory(self, annotations: Tensor) -> ProjectedMemory:
        """See `Alignment.project_memory`; keys are W h_j."""
        return self.key(annotations), annotations
