from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from saccade.nn.linear import Linear, product, serves, transposed_product


def layers(inputs: int, outputs: int, *, bias: bool) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, exact = Linear(inputs, outputs, bias=bias), nn.Linear(inputs, outputs, bias=bias).double()
    exact.load_state_dict(ours.state_dict())
    return ours, exact


@given(
    rows=st.integers(150, 400),
    inputs=st.integers(120, 260),
    outputs=st.integers(120, 260),
    bias=st.booleans(),
    middle=st.booleans(),
)
def test_output_and_gradients_equal_float64(
    rows: int, inputs: int, outputs: int, bias: bool, middle: bool
) -> None:
    """Of either side the wider, with and without an axis in between."""
    ours, exact = layers(inputs, outputs, bias=bias)
    x = torch.randn(rows, inputs) if not middle else torch.randn(rows // 3, 3, inputs)
    mine, other = x.clone().requires_grad_(), x.double().requires_grad_()
    assert serves(mine, ours.weight)
    out, expected = ours(mine), exact(other)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    weigh = torch.randn_like(out)
    (out * weigh).sum().backward()
    (expected * weigh.double()).sum().backward()
    pairs = [(mine, other), (ours.weight, exact.weight)] + ([(ours.bias, exact.bias)] if bias else [])
    for found, wanted in pairs:
        assert found.grad is not None and wanted.grad is not None
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-5, atol=1e-3)


def test_frozen_weights_and_inputs_get_no_gradient() -> None:
    ours, _ = layers(128, 128, bias=True)
    ours.weight.requires_grad_(False)
    x = torch.randn(200, 128)
    ours(x).sum().backward()
    assert ours.weight.grad is None and ours.bias.grad is not None
    ours.bias.requires_grad_(False)
    assert not ours(x).requires_grad


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.randn(200, 128).double(), torch.randn(128, 128).double()),
        (torch.randn(200, 128).bfloat16(), torch.randn(128, 128).bfloat16()),
        (torch.randn(3, 128), torch.randn(128, 128)),
    ],
)
def test_other_types_and_small_products_stay_with_torch(x: torch.Tensor, weight: torch.Tensor) -> None:
    assert not serves(x, weight)
    assert torch.equal(product(x, weight), x @ weight.t())
    assert torch.equal(transposed_product(x, x), x.t() @ x)


def test_autocast_decides_the_type() -> None:
    ours, _ = layers(128, 128, bias=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(torch.randn(200, 128)).dtype == torch.bfloat16


def test_without_gradients_onednn_sees_few_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps a compiled kernel for each of them, so memory would grow with the text that is translated."""
    seen: set[int] = set()

    def counted(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        seen.add(len(x))
        return product(x, *others)

    monkeypatch.setattr("saccade.nn.linear.product", counted)
    ours, exact = layers(128, 256, bias=True)
    with torch.inference_mode():
        for rows in range(100, 1000, 3):
            x = torch.randn(rows, 128)
            torch.testing.assert_close(ours(x).double(), exact(x.double()), rtol=1e-5, atol=1e-5)
    assert len(seen) < 64
    assert all(size % 4 == 0 for size in seen)
