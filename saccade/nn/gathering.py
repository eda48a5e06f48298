"""States at chosen places of a sequence."""

from torch import Tensor


def gathered(states: Tensor, places: Tensor) -> Tensor:
    """The states (batch, places, width) at places (batch, places) of states (batch, length, width)."""
    return states.gather(1, places.long()[..., None].expand(-1, -1, states.size(2)))
