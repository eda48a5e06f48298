from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import saccade.nn.loss
from saccade.nn.loss import linear_cross_entropy

TOKENS, WIDTH, VOCABULARY = 150, 6, 11


@pytest.fixture(autouse=True, params=[1, 64 * VOCABULARY, 100 * VOCABULARY, 1 << 21])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 tokens in chunks of 64 (the smallest), 64, 100 and all."""
    monkeypatch.setattr(saccade.nn.loss, "_CHUNK_ELEMENTS", request.param)


def inputs(*, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, dtype=dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, dtype=dtype).requires_grad_()
    extra = torch.randn(VOCABULARY, dtype=dtype).requires_grad_() if bias else None
    return hidden, weight, extra, torch.randint(VOCABULARY, (TOKENS,))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_loss_and_gradients_equal_torch(smoothing: float, bias: bool) -> None:
    ours, theirs = inputs(bias=bias), inputs(bias=bias)
    loss = linear_cross_entropy(*ours, label_smoothing=smoothing)
    hidden, weight, extra, gold = theirs
    logits = hidden @ weight.T + (0 if extra is None else extra)
    expected = cross_entropy(logits, gold, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-10)
    # A factor from outside: the training loop divides by the tokens of a whole update.
    (3.5 * loss).backward()
    (3.5 * expected).backward()
    for mine, other in zip(ours[:3], theirs[:3], strict=True):
        if mine is not None and other is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-11)


def test_the_loss_is_the_formula_added_up_by_hand() -> None:
    hidden, weight, bias, gold = inputs(bias=True)
    assert bias is not None
    h, w, b = (x.detach().tolist() for x in (hidden, weight, bias))
    total = 0.0
    for t in range(TOKENS):
        logits = [math.fsum(x * y for x, y in zip(h[t], w[v], strict=True)) + b[v] for v in range(VOCABULARY)]
        normal = math.log(math.fsum(math.exp(x) for x in logits))
        for v in range(VOCABULARY):
            mass = 0.1 / VOCABULARY + (0.9 if v == int(gold[t]) else 0.0)
            total -= mass * (logits[v] - normal)
    loss = linear_cross_entropy(hidden, weight, bias, gold, label_smoothing=0.1)
    assert float(loss.detach()) == pytest.approx(total, rel=1e-12)


def test_gradients_equal_finite_differences() -> None:
    hidden, weight, bias, gold = inputs(bias=True)

    def few(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear_cross_entropy(h, w, b, gold[:5], label_smoothing=0.2)

    assert bias is not None
    small = hidden[:5].detach().requires_grad_()
    assert torch.autograd.gradcheck(few, (small, weight, bias))


def test_the_smoothed_loss_is_least_at_the_entropy_of_the_target() -> None:
    """With logits equal to the log of the smoothed target the loss is that target's entropy."""
    smoothing, gold = 0.1, torch.arange(VOCABULARY)
    target = torch.full((VOCABULARY, VOCABULARY), smoothing / VOCABULARY, dtype=torch.float64)
    target += (1 - smoothing) * torch.eye(VOCABULARY, dtype=torch.float64)
    entropy = float(-(target * target.log()).sum())
    best = torch.eye(VOCABULARY, dtype=torch.float64), target.log().T.contiguous()
    least = float(linear_cross_entropy(*best, None, gold, label_smoothing=smoothing))
    assert least == pytest.approx(entropy, rel=1e-12)
    other = torch.eye(VOCABULARY, dtype=torch.float64), 1.01 * best[1]
    assert float(linear_cross_entropy(*other, None, gold, label_smoothing=smoothing)) > least


@pytest.mark.parametrize("needed", ["hidden", "weight", "bias"])
def test_gradients_come_for_any_one_input_alone(needed: str) -> None:
    names = ("hidden", "weight", "bias")
    ours, theirs = inputs(bias=True), inputs(bias=True)
    for inputs_ in (ours, theirs):
        for name, tensor in zip(names, inputs_[:3], strict=True):
            assert tensor is not None
            tensor.requires_grad_(name == needed)
    linear_cross_entropy(*ours).backward()
    hidden, weight, bias, gold = theirs
    assert bias is not None
    cross_entropy(hidden @ weight.T + bias, gold, reduction="sum").backward()
    for name, mine, other in zip(names, ours[:3], theirs[:3], strict=True):
        assert mine is not None
        assert other is not None
        if name == needed:
            torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-11)
        else:
            assert mine.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_none_are_computed(
    mode: type[torch.no_grad], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = saccade.nn.loss._forward_and_gradients
    given: list[tuple[Tensor | None, ...]] = []

    def watch(*args: object, **settings: object) -> tuple[Tensor | None, ...]:
        given.append(original(*args, **settings))  # type: ignore[arg-type]
        return given[-1]

    hidden, weight, bias, gold = inputs(bias=True)
    expected = float(linear_cross_entropy(hidden, weight, bias, gold, label_smoothing=0.1).detach())
    monkeypatch.setattr(saccade.nn.loss, "_forward_and_gradients", watch)
    with mode():
        loss = linear_cross_entropy(hidden, weight, bias, gold, label_smoothing=0.1)
    assert float(loss) == expected
    assert given[0][1:] == (None, None, None)


def test_bfloat16_autocast_stays_close_and_gradients_keep_the_parameters_type() -> None:
    low, exact = inputs(bias=True, dtype=torch.float32), inputs(bias=True, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(*low, label_smoothing=0.1)
    assert loss.dtype == torch.float32
    expected = linear_cross_entropy(*exact, label_smoothing=0.1)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=5e-3)
    loss.backward()
    expected.backward()
    for mine, other in zip(low[:3], exact[:3], strict=True):
        assert mine is not None
        assert other is not None
        assert mine.grad is not None
        assert other.grad is not None
        assert mine.grad.dtype == torch.float32
        assert float((mine.grad - other.grad).norm() / other.grad.norm()) < 0.02


def test_hidden_states_in_bfloat16_get_gradients_in_bfloat16() -> None:
    hidden, weight, _, gold = inputs(bias=False, dtype=torch.float32)
    low = hidden.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        linear_cross_entropy(low, weight, None, gold).backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_no_tokens_cost_nothing() -> None:
    hidden, weight, bias, gold = inputs(bias=True)
    loss = linear_cross_entropy(hidden[:0], weight, bias, gold[:0], label_smoothing=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert weight.grad is not None
    assert not bool(weight.grad.any())
