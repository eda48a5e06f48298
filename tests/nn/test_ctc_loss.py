"""CTC from hidden states against torch's of all logits: value, gradients, smoothing, groups."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import ctc_loss

from saccade.nn import ctc_loss as module
from saccade.nn.ctc_loss import Slots, class_log_probs, linear_ctc

BLANK, SIZE, WIDTH = 0, 6, 4

cases = st.lists(
    st.tuples(st.integers(1, 7), st.lists(st.integers(1, SIZE - 1), min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
)


def setting(
    pairs: list[tuple[int, list[int]]], seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Slots, Tensor]:
    torch.manual_seed(seed)
    slots = torch.tensor([slots for slots, _ in pairs])
    lengths = torch.tensor([len(target) for _, target in pairs])
    targets = torch.zeros(len(pairs), int(lengths.max()), dtype=torch.int64)
    for row, (_, target) in enumerate(pairs):
        targets[row, : len(target)] = torch.tensor(target)
    hidden = torch.randn(len(pairs), int(slots.max()), WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(SIZE, WIDTH, dtype=dtype, requires_grad=True)
    return Slots(hidden, targets, slots, lengths), weight


def plain(part: Slots, weight: Tensor, smoothing: float = 0.0) -> Tensor:
    log_probs = (part.hidden @ weight.t()).log_softmax(-1)
    total = ctc_loss(
        log_probs.transpose(0, 1), part.targets, part.slots, part.lengths, reduction="sum", zero_infinity=True
    )
    return (1 - smoothing) * total - smoothing * log_probs[part.real()].mean(-1).sum()


@settings(max_examples=60)
@given(cases, st.integers(0, 99), st.sampled_from([0.0, 0.2]))
def test_value_and_gradients_equal_torchs_of_all_logits(
    pairs: list[tuple[int, list[int]]], seed: int, smoothing: float
) -> None:
    part, weight = setting(pairs, seed)
    expected = plain(part, weight, smoothing)
    ours = linear_ctc(part, weight, blank=BLANK, label_smoothing=smoothing)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(3 * ours, [part.hidden, weight]),
        torch.autograd.grad(3 * expected, [part.hidden, weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_in_float32_too_where_there_may_be_kernels(smoothing: float) -> None:
    part, weight = setting([(7, [1, 2, 1]), (1, [2, 2]), (3, [4])], 5, torch.float32)
    expected = plain(part, weight, smoothing)
    ours = linear_ctc(part, weight, blank=BLANK, label_smoothing=smoothing)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(ours, [part.hidden, weight]),
        torch.autograd.grad(expected, [part.hidden, weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_sentences_in_groups_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(7, [1, 2, 1]), (3, [4]), (6, [5, 5]), (1, [2, 2]), (5, [3, 1, 2, 4])]
    part, weight = setting(pairs, 3)
    whole = linear_ctc(part, weight, blank=BLANK)
    gradients = torch.autograd.grad(whole, [part.hidden, weight])
    monkeypatch.setattr(module, "_GROUP_ELEMENTS", 2 * SIZE * 7)
    assert len(list(part.groups(SIZE))) == 3
    again = linear_ctc(part, weight, blank=BLANK)
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-9)
    for one, other in zip(torch.autograd.grad(again, [part.hidden, weight]), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_class_log_probs_are_those_of_blank_and_tokens() -> None:
    part, weight = setting([(4, [1, 3, 1]), (2, [5])], 1)
    with torch.no_grad():
        values, said = class_log_probs(part, weight, blank=BLANK)
        log_probs = (part.hidden @ weight.t()).log_softmax(-1)
    torch.testing.assert_close(values[0], log_probs[0][:, [0, 1, 3, 1]], rtol=0, atol=1e-12)
    torch.testing.assert_close(values[1, :2], log_probs[1, :2][:, [0, 5, 0, 0]], rtol=0, atol=1e-12)
    assert torch.equal(said[0], log_probs[0].argmax(-1))


def test_bfloat16_autocast_stays_close_and_gradients_keep_their_types() -> None:
    part, weight = setting([(7, [1, 2, 1]), (3, [4])], 2, torch.float32)
    exact = plain(part, weight)
    with torch.autocast("cpu", torch.bfloat16):
        low = linear_ctc(part, weight, blank=BLANK)
    torch.testing.assert_close(low, exact, rtol=0.03, atol=0.05)
    for gradient, of in zip(
        torch.autograd.grad(low, [part.hidden, weight]), (part.hidden, weight), strict=True
    ):
        assert gradient.dtype == torch.float32
        (wanted,) = torch.autograd.grad(exact, [of], retain_graph=True)
        torch.testing.assert_close(gradient, wanted, rtol=0.1, atol=0.1)


def test_without_gradients_none_are_computed() -> None:
    part, weight = setting([(4, [1, 2])], 1)
    with torch.no_grad():
        assert not linear_ctc(part, weight, blank=BLANK).requires_grad
