"""Pooling of a sequence by attention, with learned queries in the place of a decoder's (Lin et al. 2017)."""

import torch
from torch import Tensor

from saccade.nn.attention import merge_heads, split_heads
from saccade.nn.linear import Linear
from saccade.nn.recorded import AttentionModule


class AttentionPooling(AttentionModule):
    """The vector sum_i p_i v_i of a sequence x, p = softmax_i(u^T tanh(W x_i + b)), in several heads.

    Each head has its own u, and its own part of v = V x + c; the parts are concatenated. Padding gets no
    weight. The label is the target of this attention, and the text its source.
    """

    kind = "cross"

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.hidden = Linear(width, width)
        self.queries = Linear(width, heads, bias=False)
        self.value = Linear(width, width)

    def forward(self, x: Tensor, *, visible: Tensor | None) -> Tensor:
        """x (batch, source, width), visible (batch, 1, 1, source) or None; returns (batch, width)."""
        mixed = self.weights(x, visible=visible).to(x.dtype) @ split_heads(self.value(x), self.heads)
        return merge_heads(mixed)[:, 0]

    def weights(self, x: Tensor, *, visible: Tensor | None) -> Tensor:
        """Weights (batch, heads, 1, source) for the same arguments as `forward`."""
        scores = self.queries(self.hidden(x).tanh()).transpose(1, 2)[:, :, None]  # (batch, heads, 1, source)
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        # In float32, because a weight of a long text would be rounded away in 16 bits.
        weights: Tensor = scores.float().softmax(-1) if scores.dtype == torch.bfloat16 else scores.softmax(-1)
        return weights
