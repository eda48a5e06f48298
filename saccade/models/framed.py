"""What the models that read frames share: the settings of their first layers."""

from math import prod

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from saccade.config import Section
from saccade.models.placing import Positions, added_positions
from saccade.nn.frame_masking import FrameMasking
from saccade.nn.frames import FrameProjection


class FrameSettings(Section):
    """Settings of the layers that read frames."""

    strides: tuple[PositiveInt, ...] = ()
    """Strides of the convolutions over positions, one for each: [2, 2] leaves a quarter of the positions.
    Empty: frames are only projected."""
    frame_kernel: int = Field(5, ge=1, le=255)
    """Number of positions that each of these convolutions sees; odd."""
    masked_positions: NonNegativeInt = 0
    """Widest span of frames that training hides, at two places of each input, and at most a fifth of its
    frames (SpecAugment, Park et al. 2019); 0: none."""
    masked_values: NonNegativeInt = 0
    """Widest band of a frame's values that training hides, at two places of each input, such as bands of a
    sound's spectrum; 0: none."""

    @field_validator("frame_kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"{kernel} is even; a convolution sees as far to the left as to the right")
        return kernel

    @property
    def stride(self) -> int:
        """Number of frames for each position of the encoder."""
        return prod(self.strides)


def frame_projection(
    config: FrameSettings, frame_width: int, width: int, *, positions: Positions, length: int, dropout: float
) -> FrameProjection:
    """The first layers of a model that reads frames. length: the most positions, if they are learned."""
    return FrameProjection(
        frame_width,
        width,
        kernel=config.frame_kernel,
        strides=config.strides,
        positions=added_positions(positions, width, length=length),
        dropout=dropout,
        masking=FrameMasking(config.masked_positions, config.masked_values),
    )
