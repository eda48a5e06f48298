"""Convolutions over frames: against plain loops, and padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import gelu, layer_norm

from saccade.nn.frame_masking import FrameMasking
from saccade.nn.frames import FrameConvolution, FrameProjection
from saccade.nn.positions import NoPositions


@given(st.integers(1, 9), st.integers(1, 3), st.sampled_from([1, 3, 5]))
@settings(max_examples=15, deadline=None)
def test_a_convolution_is_that_of_plain_loops(length: int, stride: int, kernel: int) -> None:
    torch.manual_seed(length)
    layer = FrameConvolution(3, 4, kernel=kernel, stride=stride).double()
    x = torch.randn(1, length, 3, dtype=torch.float64)
    found, lengths = layer(x, torch.tensor([length]))
    rows = []
    for place in range(0, length, stride):
        total = layer.convolution.bias.clone()
        for offset in range(kernel):
            position = place + offset - kernel // 2
            if 0 <= position < length:
                total = total + layer.convolution.weight[:, :, offset] @ x[0, position]
        rows.append(layer_norm(gelu(total), (4,), layer.norm.weight, layer.norm.bias))
    torch.testing.assert_close(found[0], torch.stack(rows))
    assert lengths.tolist() == [len(rows)]


@pytest.mark.parametrize("strides", [(), (1,), (2, 3)])
def test_a_row_is_the_same_alone_and_beside_a_longer_one(strides: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    masking = FrameMasking(0, 0)
    layer = FrameProjection(
        3, 8, kernel=5, strides=strides, positions=NoPositions(), dropout=0.0, masking=masking
    ).double()
    nn.init.normal_(layer.projection.bias)
    x = torch.randn(2, 13, 3, dtype=torch.float64)
    together, lengths = layer(x, torch.tensor([13, 7]))
    alone, length = layer(x[1:, :7], torch.tensor([7]))
    assert lengths[1] == length[0] == alone.size(1)
    torch.testing.assert_close(together[1, : alone.size(1)], alone[0])
