from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.native.library import library, why_not
from saccade.native.linear import pack

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)

SHAPES = {
    "rows": st.integers(1, 15) | st.sampled_from([96, 97, 200]),  # of one block or several
    "inputs": st.integers(1, 6).map(lambda n: 16 * n),
    "outputs": st.integers(1, 200),
    "bias": st.booleans(),
    "seed": st.integers(0, 1000),
}


@given(**SHAPES)
def test_a_packed_product_equals_float64(rows: int, inputs: int, outputs: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    weight, x = torch.randn(outputs, inputs), torch.randn(rows, inputs)
    added = torch.randn(outputs) if bias else None
    out = pack(weight, added, precision="float32")(x)
    expected = x.double() @ weight.double().T + (0 if added is None else added.double())
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-4)


@given(**SHAPES, shift=st.sampled_from([0.0, 2.0, -20.0, 20.0]))
def test_int8_is_exactly_the_product_of_what_was_rounded(
    rows: int, inputs: int, outputs: int, bias: bool, seed: int, shift: float
) -> None:
    torch.manual_seed(seed)
    weight, x = torch.randn(outputs, inputs), 3 * torch.randn(rows, inputs) + shift
    added = torch.randn(outputs) if bias else None
    out = pack(weight, added, precision="int8")(x)
    step = weight.double().abs().amax(1, keepdim=True) / 127
    row_step = (x.amax(1, keepdim=True).clamp(min=0) - x.amin(1, keepdim=True).clamp(max=0)).double() / 254
    # Halves may fall on either side in float32: one of the row's values may differ by a step, and a weight
    # that is nearly half a step from two others as well.
    exact = (x.double() / row_step).round() @ (weight.double() / step).round().T * row_step * step.T
    exact = exact + (0 if added is None else added.double())
    slack = float((row_step * weight.double().abs().amax()).max()) * 1.01 + 1e-4
    if bool((((weight.double() / step) % 1 - 0.5).abs() < 1e-5).any()):
        slack += float(x.abs().max() * step.max()) * 1.01
    assert float((out.double() - exact).abs().max()) <= slack


def test_int8_stays_near_the_unrounded_product() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(300, 256), torch.randn(40, 256)
    out, exact = pack(weight, None, precision="int8")(x), x @ weight.T
    assert float((out - exact).norm() / exact.norm()) < 0.015


def test_int8_spends_its_steps_on_the_range_that_a_row_has() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 256).relu()  # nothing below zero: half the range, half the step
    off = (pack(torch.eye(256), None, precision="int8")(x) - x).abs().amax(1)
    assert bool((off <= x.amax(1) / 254 / 2 * 1.01).all())


def test_a_row_and_an_output_of_zeros_stay_zero() -> None:
    weight, x = torch.ones(3, 16), torch.ones(2, 16)
    weight[1], x[1] = 0, 0
    for precision in ("float32", "int8"):
        out = pack(weight, None, precision=precision)(x)
        assert out[0].tolist() == pytest.approx([16, 0, 16])
        assert out[1].tolist() == [0, 0, 0]


@given(**SHAPES, never=st.lists(st.integers(0, 14), max_size=3, unique=True))
def test_the_likeliest_output_is_that_of_a_whole_softmax(
    rows: int, inputs: int, outputs: int, bias: bool, seed: int, never: list[int]
) -> None:
    torch.manual_seed(seed)
    outputs += 15
    weight, x = torch.randn(outputs, inputs), torch.randn(2 * rows, inputs)
    packed = pack(weight, torch.randn(outputs) if bias else None, precision="float32")
    expected = packed(x).double().log_softmax(-1)
    expected[:, never] = -torch.inf
    places, log_probs = packed.argmax(x, excluded=never)
    torch.testing.assert_close(log_probs.double(), expected.amax(1), rtol=1e-4, atol=1e-4)
    assert torch.equal(places, expected.argmax(1))


def test_of_equals_the_first_is_taken_whatever_the_threads() -> None:
    packed = pack(torch.ones(300, 16), None, precision="float32")
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            places, log_probs = packed.argmax(torch.ones(4, 16), excluded=[0, 1])
            assert places.tolist() == [2] * 4
            torch.testing.assert_close(log_probs, torch.full((4,), -math.log(300)))
    finally:
        torch.set_num_threads(before)


def test_what_lies_behind_a_sequence_is_left_alone() -> None:
    torch.manual_seed(0)
    packed = pack(torch.randn(70, 32), None, precision="float32")
    x, out, lengths = torch.randn(5, 9, 32), torch.full((5, 9, 70), 7.0), torch.tensor([9, 1, 0, 4, 9])
    packed.into(out, x, lengths)
    real = torch.arange(9) < lengths[:, None]
    torch.testing.assert_close(out[real], packed(x)[real])
    assert bool((out[~real] == 7).all())
