"""What a model read as a picture, and where its source positions lie on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.frames.reading import View

Box = tuple[int, int, int, int]
"""Left, top, width and height, in values of the picture."""


@dataclass(frozen=True)
class Seen:
    """A picture, or the spectrogram of a sound, as a model reads it.

    values (height, width): 0 is the paper, 255 the ink. square: whether a value is as wide as it is high.
    boxes: those of each source position.
    """

    values: NDArray[np.uint8]
    square: bool
    boxes: tuple[tuple[Box, ...], ...]


def seen(view: View, *, stride: int) -> Seen:
    """stride: number of frames that a source position of the model stands for."""
    low, high = float(view.values.min()), float(view.values.max())
    levels = (view.values - low) * (255 / (high - low) if high > low else 0.0)
    every = boxes(view)
    return Seen(
        np.ascontiguousarray(levels.round().astype(np.uint8)),
        view.square,
        tuple(tuple(every[first : first + stride]) for first in range(0, len(every), stride)),
    )


def boxes(view: View) -> list[Box]:
    """The box of each frame; those at the right and the lower edge may be cut off."""
    high, wide = view.box
    height, width = view.values.shape
    return [
        (left, top, min(wide, width - left), min(high, height - top))
        for left in range(0, width, wide)
        for top in range(0, high * view.stacked, high)
    ]
