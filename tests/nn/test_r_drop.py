"""The loss of R-Drop against a loop over tokens and classes in float64, and in the kernel."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import saccade.nn.r_drop
from saccade.native.library import library
from saccade.native.softmax import r_drop_gradient_
from saccade.nn.loss import linear_cross_entropy
from saccade.nn.r_drop import linear_r_drop

TOKENS, WIDTH, VOCABULARY = 70, 5, 11


@pytest.fixture(params=[1, 2 * 40 * VOCABULARY, 1 << 22])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """70 tokens in chunks of 32 (the smallest), 40 and all."""
    monkeypatch.setattr(saccade.nn.r_drop, "_CHUNK_ELEMENTS", request.param)


def inputs(*, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(2, TOKENS, WIDTH, dtype=dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, dtype=dtype).requires_grad_()
    extra = torch.randn(VOCABULARY, dtype=dtype).requires_grad_() if bias else None
    return hidden, weight, extra, torch.randint(VOCABULARY, (TOKENS,))


def naive(logits: Tensor, gold: Tensor, *, strength: float, smoothing: float) -> float:
    """Half of equation 4 of the paper, a class at a time; logits (2, tokens, classes)."""
    classes, total = logits.size(2), 0.0
    for t in range(logits.size(1)):
        logs = []
        for one in range(2):
            row = logits[one, t].tolist()
            normal = math.log(math.fsum(math.exp(x - max(row)) for x in row)) + max(row)
            logs.append([x - normal for x in row])
        for c in range(classes):
            mass = smoothing / classes + (1 - smoothing if c == int(gold[t]) else 0.0)
            total -= mass * (logs[0][c] + logs[1][c]) / 2
            there, back = math.exp(logs[0][c]), math.exp(logs[1][c])
            total += strength / 4 * (there * (logs[0][c] - logs[1][c]) + back * (logs[1][c] - logs[0][c]))
    return total


def by_torch(logits: Tensor, gold: Tensor, *, strength: float, smoothing: float) -> Tensor:
    """The same from torch's own losses, for its gradient."""
    first, second = logits.log_softmax(-1)
    divergence = sum(
        torch.nn.functional.kl_div(one, other, log_target=True, reduction="sum")
        for one, other in ((first, second), (second, first))
    )
    entropy = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), gold.repeat(2), reduction="sum", label_smoothing=smoothing
    )
    return entropy / 2 + strength / 4 * divergence


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("strength", "smoothing"), [(5.0, 0.1), (1.0, 0.0), (0.0, 0.1)])
@pytest.mark.usefixtures("chunks")
def test_loss_and_gradients_are_those_of_a_loop_and_of_torch(
    bias: bool, strength: float, smoothing: float
) -> None:
    ours, theirs = inputs(bias=bias), inputs(bias=bias)
    loss = linear_r_drop(*ours, strength=strength, label_smoothing=smoothing)
    hidden, weight, extra, gold = theirs
    logits = hidden @ weight.T + (0 if extra is None else extra)
    expected = naive(logits.detach(), gold, strength=strength, smoothing=smoothing)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
    (3.5 * loss).backward()
    (3.5 * by_torch(logits, gold, strength=strength, smoothing=smoothing)).backward()
    for mine, other in zip(ours[:3], theirs[:3], strict=True):
        if mine is not None and other is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-10)


def test_two_equal_passes_are_one_pass_of_cross_entropy() -> None:
    hidden, weight, bias, gold = inputs(bias=True)
    once = linear_cross_entropy(hidden[0], weight, bias, gold, label_smoothing=0.1)
    twice = linear_r_drop(hidden[:1].expand(2, -1, -1), weight, bias, gold, strength=5.0, label_smoothing=0.1)
    torch.testing.assert_close(twice, once, rtol=1e-12, atol=0)


def test_in_bfloat16_it_stays_close_and_gradients_keep_the_parameters_type() -> None:
    low, exact = inputs(bias=True, dtype=torch.float32), inputs(bias=True, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_r_drop(*low, strength=5.0, label_smoothing=0.1)
    expected = linear_r_drop(*exact, strength=5.0, label_smoothing=0.1)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=2e-2)
    loss.backward()
    expected.backward()
    for mine, other in zip(low[:3], exact[:3], strict=True):
        assert mine is not None
        assert other is not None
        assert mine.grad is not None
        assert other.grad is not None
        assert mine.grad.dtype == torch.float32
        assert float((mine.grad - other.grad).norm() / other.grad.norm()) < 0.05


@pytest.mark.skipif(library() is None, reason="no kernels here")
@given(
    rows=st.integers(1, 5),
    classes=st.integers(1, 70),
    smoothing=st.sampled_from([0.0, 0.1]),
    strength=st.sampled_from([0.0, 1.0, 5.0]),
    size=st.sampled_from([0.1, 3.0, 20.0]),
    seed=st.integers(0, 1000),
)
def test_the_kernel_is_torchs_loss_and_gradient(
    rows: int, classes: int, smoothing: float, strength: float, size: float, seed: int
) -> None:
    torch.manual_seed(seed)
    logits = size * torch.randn(2 * rows, classes)
    gold = torch.randint(classes, (rows,))
    exact = logits.double().unflatten(0, (2, -1)).requires_grad_()
    loss = r_drop_gradient_(logits, gold, smoothing=smoothing, strength=strength)
    expected = by_torch(exact, gold, strength=strength, smoothing=smoothing)
    expected.backward()
    assert float(loss.double().sum()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-4)
    assert exact.grad is not None
    torch.testing.assert_close(logits.double(), exact.grad.flatten(0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(library() is None, reason="no kernels here")
def test_the_kernel_refuses_a_target_that_is_no_class() -> None:
    logits = torch.ones(4, 5)
    with pytest.raises(IndexError, match="target"):
        r_drop_gradient_(logits, torch.tensor([1, 5]), smoothing=0.1, strength=1.0)
    assert bool((logits == 1).all())
    with pytest.raises(ValueError, match="targets"):
        r_drop_gradient_(logits, torch.tensor([1]), smoothing=0.1, strength=1.0)
