"""What attention modules declare so that their weights can be recorded."""

from typing import Any, Literal

from torch import Tensor, nn

AttentionKind = Literal["encoder", "decoder", "cross", "positional"]
"""Who attends to what. encoder: the source to itself; decoder: the target, or a running text, to itself;
cross: the target to the source; positional: positions of the target to positions."""


class AttentionModule(nn.Module):
    """The base of every module that attends: it declares its kind and can give its weights."""

    kind: AttentionKind

    def weights(self, *args: Any, **kwargs: Any) -> Tensor:
        """Weights (batch, heads, query, key), rows summing to 1, for the arguments of `forward`."""
        raise NotImplementedError
