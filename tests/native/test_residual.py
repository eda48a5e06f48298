from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from saccade.native.library import library, why_not
from saccade.native.residual import add_norm, dropout, serves_norm

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


def layer_norm(width: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(width)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@given(
    rows=st.integers(1, 30),
    blocks=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.3]),
    low=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_normalised_sum_and_its_gradients_equal_torch(
    rows: int, blocks: int, rate: float, low: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    norm = layer_norm(16 * blocks)
    x = torch.randn(rows, 2, 16 * blocks, requires_grad=True)
    y = torch.randn(rows, 2, 16 * blocks).to(torch.bfloat16 if low else torch.float32).requires_grad_()
    assert serves_norm(x, y)
    torch.manual_seed(seed)
    out = add_norm(x, y, norm, dropout=rate)
    outer = torch.randn(out.shape)
    slopes = torch.autograd.grad(out, (x, y, norm.weight, norm.bias), outer)

    torch.manual_seed(seed)  # the same draw, so the same elements fall
    mask = dropout(torch.ones(out.shape), rate).double() if rate else torch.ones(out.shape).double()
    exact = [z.detach().double().requires_grad_() for z in (x, y, norm.weight, norm.bias)]
    total = exact[0] + exact[1] * mask
    expected = nn.functional.layer_norm(total, norm.normalized_shape, *exact[2:])
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)
    for name, mine, theirs in zip(
        "xywb", slopes, torch.autograd.grad(expected, exact, outer.double()), strict=True
    ):
        tolerance = 1e-2 if low and name == "y" else 1e-3
        torch.testing.assert_close(mine.double(), theirs, rtol=tolerance, atol=tolerance)


def slopes_with(threads: int) -> list[Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        norm = layer_norm(64)
        x = torch.randn(999, 64, requires_grad=True)
        out = add_norm(x, torch.randn(999, 64), norm, dropout=0.1)
        return [out, *torch.autograd.grad(out.square().sum(), (x, norm.weight, norm.bias))]
    finally:
        torch.set_num_threads(before)


def test_threads_share_the_rows_and_two_runs_are_the_same_to_the_bit() -> None:
    for first, second, alone in zip(slopes_with(2), slopes_with(2), slopes_with(1), strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first, alone, rtol=1e-5, atol=1e-4)


def test_other_widths_and_types_are_left_to_torch() -> None:
    assert not serves_norm(torch.zeros(2, 17), torch.zeros(2, 17))
    assert not serves_norm(torch.zeros(2, 16, dtype=torch.float64), torch.zeros(2, 16))
