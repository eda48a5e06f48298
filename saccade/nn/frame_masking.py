"""Masks over frames in training, as SpecAugment has them for spectrograms (Park et al. 2019)."""

import torch
from torch import Tensor, nn

MASKS = 2  # of each sort, as in the paper's stronger policies
_LARGEST_SHARE = 0.2  # of an input's positions in one mask, so that a short sound keeps most of its frames


class FrameMasking(nn.Module):
    """Sets spans of positions and bands of values to zero in training; in use, frames pass unchanged.

    Each input has two masks of either sort. The width of a mask is drawn from 0 up to the limit, and its
    place from those where it fits. Frames of sounds have a mean of 0, so that a mask hides without adding a
    level that does not occur.
    """

    def __init__(self, positions: int, values: int) -> None:
        """positions, values: the widest mask; of an input's positions, at most a fifth are in one mask."""
        super().__init__()
        self.positions, self.values = positions, values

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """frames (batch, positions, values), lengths (batch,); returns the shape of frames."""
        if not self.training:
            return frames
        batch, positions, values = frames.shape
        if self.positions:
            widest = (lengths * _LARGEST_SHARE).floor().clamp(max=self.positions)
            hidden = _spans(widest, lengths, positions)
            frames = frames.masked_fill(hidden[:, :, None], 0.0)
        if self.values:
            size = torch.full((batch,), values, device=frames.device)
            hidden = _spans(size.clamp(max=self.values), size, values)
            frames = frames.masked_fill(hidden[:, None, :], 0.0)
        return frames

    def extra_repr(self) -> str:
        """The part of `repr(module)` in brackets."""
        return f"positions={self.positions}, values={self.values}"


def _spans(widest: Tensor, size: Tensor, length: int) -> Tensor:
    """Booleans (batch, length), True inside one of the masks. widest, size (batch,): limit of a mask's width,
    and number of places that it may cover."""
    draws = torch.rand(2, len(size), MASKS, device=size.device)
    width = (draws[0] * (widest[:, None] + 1)).floor()
    start = (draws[1] * (size[:, None] - width + 1)).floor()
    places = torch.arange(length, device=size.device)[:, None]
    inside = (places >= start[:, None, :]) & (places < (start + width)[:, None, :])
    return inside.any(dim=2)
