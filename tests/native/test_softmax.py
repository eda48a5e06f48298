from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot

from saccade.native.library import library, why_not
from saccade.native.softmax import softmax_, softmax_gradient_

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


@given(
    rows=st.integers(1, 9),
    classes=st.integers(1, 70),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    size=st.sampled_from([0.1, 5.0, 40.0]),
    low=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_it_is_softmax_minus_target_and_the_cross_entropy(
    rows: int, classes: int, smoothing: float, size: float, low: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    logits = (size * torch.randn(rows, classes)).to(torch.bfloat16 if low else torch.float32)
    gold = torch.randint(classes, (rows,))
    exact = logits.double()
    loss, gold_logit = softmax_gradient_(logits, gold, smoothing=smoothing)
    expected = exact.softmax(-1) - (1 - smoothing) * one_hot(gold, classes)
    tolerance = 2**-8 if low else 2e-6
    torch.testing.assert_close(logits.double(), expected, rtol=tolerance, atol=1e-6)
    torch.testing.assert_close(
        loss.double(), cross_entropy(exact, gold, reduction="none"), rtol=1e-6, atol=2e-5
    )
    assert torch.equal(gold_logit.double(), exact.gather(1, gold[:, None])[:, 0])


@given(
    rows=st.integers(1, 9),
    classes=st.integers(1, 70),
    size=st.sampled_from([0.1, 5.0, 40.0]),
    low=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_in_place_it_is_softmax_with_its_normaliser_and_its_likeliest_class(
    rows: int, classes: int, size: float, low: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    logits = (size * torch.randn(rows, classes)).to(torch.bfloat16 if low else torch.float32)
    exact = logits.double()
    normaliser, said = softmax_(logits)
    tolerance = 2**-8 if low else 2e-6
    torch.testing.assert_close(logits.double(), exact.softmax(-1), rtol=tolerance, atol=1e-6)
    torch.testing.assert_close(normaliser.double(), exact.logsumexp(-1), rtol=1e-6, atol=2e-5)
    # Of equals, which bfloat16 has, the first.
    assert said.tolist() == [row.index(max(row)) for row in exact.tolist()]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(wrong: float) -> None:
    logits = torch.zeros(3, 20)
    logits[1, 7] = wrong
    loss, _ = softmax_gradient_(logits, torch.zeros(3, dtype=torch.int64), smoothing=0.1)
    assert loss.isfinite().tolist() == [True, False, True]
