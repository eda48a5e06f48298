"""Copying from the source by attention: pointer-generator networks (See et al. 2017).

P(y) = g softmax(z)_y + (1 - g) sum of a_i over the source positions i that hold y, where a is the attention
and g = sigmoid(w . [h; c] + b) is computed from the decoder's state h and the context c.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from saccade.nn.attention import attention_weights
from saccade.nn.joining import join_padded
from saccade.nn.linear import Linear
from saccade.nn.recorded import AttentionModule


class CopyMemory(NamedTuple):
    """What can be copied: keys and encoder states (batch, source, width), and the ids (batch, source)."""

    keys: Tensor
    states: Tensor
    source: Tensor

    def select(self, sentences: Tensor) -> "CopyMemory":
        """The memory of some of the sentences."""
        return CopyMemory(*(part.index_select(0, sentences) for part in self))

    def join(self, fresh: "CopyMemory") -> "CopyMemory":
        """These sentences followed by those of another batch, padded to one length."""
        return CopyMemory(*(join_padded(own, new, axis=1) for own, new in zip(self, fresh, strict=True)))


class CopyAttention(AttentionModule):
    """One head of attention to the source, whose weights are the probabilities of copying each position."""

    kind = "cross"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = Linear(width, width), Linear(width, width)
        self.gate = Linear(2 * width, 1)

    def project_memory(self, states: Tensor, source: Tensor) -> CopyMemory:
        """The memory of encoder states (batch, source, width) of ids (batch, source)."""
        return CopyMemory(self.key(states), states, source)

    def forward(self, x: Tensor, memory: CopyMemory, *, visible: Tensor | None = None) -> Tensor:
        """What `CopyingOutput` reads, (batch, query, width + 1 + 2 source), for x (batch, query, width).

        It is x, the gate's logit, the weights and the ids of the source, in float32 or wider, so that each
        row has all that its distribution depends on. visible (batch, 1, 1, source): True =
        may be copied.
        """
        weights = self.weights(x, memory, visible=visible)[:, 0]  # (batch, query, source)
        context = weights.to(memory.states.dtype) @ memory.states
        gate = self.gate(torch.cat([x, context.to(x.dtype)], -1))  # (batch, query, 1)
        wide = torch.promote_types(x.dtype, torch.float32)
        ids = memory.source[:, None].expand_as(weights)
        return torch.cat([x.to(wide), gate.to(wide), weights.to(wide), ids.to(wide)], -1)

    def weights(self, x: Tensor, memory: CopyMemory, *, visible: Tensor | None = None) -> Tensor:
        """Weights (batch, 1, query, source) for the same arguments as `forward`."""
        return attention_weights(self.query(x)[:, None], memory.keys[:, None], visible=visible)


class CopyingOutput(Linear):
    """An output layer that mixes generation with copying; its logits are log-probabilities.

    It reads what `CopyAttention` returns. Its weight is that of a linear output layer over the first
    channels, and may be tied to embeddings.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Log-probabilities (..., vocabulary) of states (..., width + 1 + 2 source)."""
        length = (input.size(-1) - self.in_features - 1) // 2
        x, gate, weights, ids = input.split([self.in_features, 1, length, length], -1)
        generated = super().forward(x.to(self.weight.dtype)).to(input.dtype).log_softmax(-1)
        copied = torch.zeros_like(generated).scatter_add(-1, ids.long(), weights)
        # Tokens that are not in the source have no finite logarithm of their copied part.
        least = torch.finfo(copied.dtype).tiny
        copied = copied.clamp(min=least).log() + logsigmoid(-gate)
        mixed: Tensor = torch.logaddexp(generated + logsigmoid(gate), copied)
        return mixed
