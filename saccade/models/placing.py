"""The position encodings that models choose from, by name."""

from typing import Literal

from torch import nn

from saccade.nn.alibi import AlibiPositions
from saccade.nn.attention import AttentionPositions
from saccade.nn.positions import Layout, LearnedPositions, NoPositions, SinusoidalPositions
from saccade.nn.relative import RelativePositions
from saccade.nn.rotary import RotaryPositions

Positions = Literal["sinusoidal", "learned", "relative", "rotary", "alibi", "none"]
MAX_DISTANCE = 16
"""Greatest distance that relative positions distinguish (Shaw et al. 2018, section 4.1)."""


def added_positions(name: Positions, width: int, *, length: int, layout: Layout = "interleaved") -> nn.Module:
    """The positions that are added to embeddings; none for those that act inside attention.

    length: the most that a sequence may have with learned positions; layout: see `sinusoids`.
    """
    match name:
        case "sinusoidal":
            return SinusoidalPositions(width, layout=layout)
        case "learned":
            return LearnedPositions(width, length=length)
        case _:
            return NoPositions()


def attention_positions(
    name: Positions, *, heads: int, head_width: int, causal: bool, max_distance: int | None = None
) -> AttentionPositions:
    """The positions that act inside the self-attention of one layer.

    max_distance: see `RelativePositions`; None: `MAX_DISTANCE`.
    """
    match name:
        case "relative":
            return RelativePositions(head_width, max_distance=max_distance or MAX_DISTANCE, causal=causal)
        case "rotary":
            return RotaryPositions(head_width)
        case "alibi":
            return AlibiPositions(heads)
        case _:
            return AttentionPositions()
