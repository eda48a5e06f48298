"""Frames as the input of an encoder: convolutions over positions, and a projection to the model's width."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from saccade.nn.dropout import Dropout
from saccade.nn.frame_masking import FrameMasking
from saccade.nn.linear import Linear


class FrameConvolution(nn.Module):
    """LayerNorm(GELU(conv(x))) over positions, of which every `stride`-th is computed.

    Padding is read as zeros, as is what lies beyond the ends of a sequence.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int) -> None:
        """kernel: odd, so that position i sees as far to the left as to the right."""
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, positions, inputs), lengths (batch,); returns the same of fewer positions."""
        places = torch.arange(x.size(1), device=x.device)
        real = (places < lengths[:, None])[:, :, None]
        mixed = self.convolution(x.masked_fill(~real, 0.0).transpose(1, 2)).transpose(1, 2)
        return self.norm(gelu(mixed)), (lengths + self.stride - 1) // self.stride


class FrameProjection(nn.Module):
    """Maps frames, masked in training, to Dropout(W f + b + position), behind a convolution a stride."""

    def __init__(
        self,
        frame_width: int,
        width: int,
        *,
        kernel: int,
        strides: Sequence[int],
        positions: nn.Module,
        dropout: float,
        masking: FrameMasking,
    ) -> None:
        super().__init__()
        self.masking = masking
        self.convolutions = nn.ModuleList(
            FrameConvolution(width if number else frame_width, width, kernel=kernel, stride=stride)
            for number, stride in enumerate(strides)
        )
        self.projection = Linear(width if strides else frame_width, width)
        self.positions = positions
        self.dropout = Dropout(dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """frames (batch, positions, frame_width), lengths (batch,).

        Returns (batch, positions after the strides, width) and their lengths.
        """
        x = self.masking(frames.to(self.projection.weight.dtype), lengths)
        for convolution in self.convolutions:
            x, lengths = cast(FrameConvolution, convolution)(x, lengths)
        embedded: Tensor = self.dropout(self.positions(self.projection(x)))
        return embedded, lengths
