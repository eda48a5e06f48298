"""The loss of padded positions equals torch's cross-entropy of the real ones, with its gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from saccade.nn import masked_loss
from saccade.nn.masked_loss import masked_cross_entropy


def material(
    rows: int, length: int, *, seed: int, bias: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(rows, length, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(11, dtype=torch.float64, requires_grad=True) if bias else None
    return hidden, weight, offset, torch.randint(11, (rows, length))


@given(
    rows=st.integers(1, 5),
    length=st.integers(1, 40),
    smoothing=st.sampled_from([0.0, 0.1, 0.7]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_torchs_cross_entropy_of_the_real_positions(
    rows: int, length: int, smoothing: float, bias: bool, seed: int
) -> None:
    hidden, weight, offset, gold = material(rows, length, seed=seed, bias=bias)
    real = torch.rand(rows, length) < 0.7
    leaves = [leaf for leaf in (hidden, weight, offset) if leaf is not None]
    total = masked_cross_entropy(hidden, weight, offset, gold, real, label_smoothing=smoothing)
    found = torch.autograd.grad(3 * total, leaves)
    logits = torch.nn.functional.linear(hidden, weight, offset)
    expected = cross_entropy(logits[real], gold[real], label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(total, expected, atol=1e-9, rtol=1e-9)
    for one, other in zip(found, torch.autograd.grad(3 * expected, leaves), strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_the_rows_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, offset, gold = material(7, 30, seed=1, bias=True)
    assert offset is not None
    real = torch.ones_like(gold, dtype=torch.bool)
    found = []
    for elements in (1, 1 << 26):  # 64 rows, and all of them
        monkeypatch.setattr(masked_loss, "DEVICE_ELEMENTS", elements)
        total = masked_cross_entropy(hidden, weight, offset, gold, real, label_smoothing=0.1)
        found.append((total, *torch.autograd.grad(total, (hidden, weight, offset))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_products_are_in_16_bits_under_autocast_and_the_sum_is_not() -> None:
    hidden, weight, _, gold = material(3, 9, seed=2, bias=False)
    narrow = hidden.detach().float().requires_grad_(), weight.detach().float().requires_grad_()
    real = torch.ones_like(gold, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        total = masked_cross_entropy(*narrow, None, gold, real)
    total.backward()
    assert total.dtype == narrow[0].grad.dtype == narrow[1].grad.dtype == torch.float32
    exact = masked_cross_entropy(hidden, weight, None, gold, real)
    exact.backward()
    assert total.item() == pytest.approx(exact.item(), rel=0.02)
    torch.testing.assert_close(narrow[0].grad.double(), hidden.grad, atol=0.03, rtol=0.05)


def test_without_gradients_nothing_is_kept_for_them() -> None:
    hidden, weight, _, gold = material(3, 9, seed=2, bias=False)
    with torch.no_grad():
        total = masked_cross_entropy(hidden, weight, None, gold, torch.ones_like(gold, dtype=torch.bool))
    assert not total.requires_grad
