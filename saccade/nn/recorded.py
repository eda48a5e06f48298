"""The base class of attention modules, whose weights can be recorded."""

from typing import Any, Literal

from torch import Tensor, nn

AttentionKind = Literal["encoder", "decoder", "cross", "positional"]
"""The kind of attention. encoder: of the source to itself; decoder: of the target, or a running text, to
itself; cross: of the target to the source; positional: of target positions to positions."""


class AttentionModule(nn.Module):
    """The base of every attention module, which declares its kind and can compute its weights."""

    kind: AttentionKind
    heads: int = 1
    """Number of heads, the second axis of `weights`."""

    def weights(self, *args: Any, **kwargs: Any) -> Tensor:
        """Weights (batch, heads, query, key), rows summing to 1, for the arguments of `forward`."""
        raise NotImplementedError
