from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.native.library import library, why_not
from saccade.native.search import log_softmax_, top

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


@given(rows=st.integers(1, 20), classes=st.integers(1, 300), seed=st.integers(0, 1000))
def test_log_softmax_equals_float64(rows: int, classes: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits = 10 * torch.randn(rows, classes)
    expected = logits.double().log_softmax(-1)
    torch.testing.assert_close(log_softmax_(logits).double(), expected, rtol=1e-6, atol=2e-5)


@given(data=st.data())
def test_the_best_come_in_order_and_of_equals_the_first(data: st.DataObject) -> None:
    rows, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 400))
    count = data.draw(st.integers(1, min(width, 64)))
    # Few distinct values: many ties. Some places are ruled out.
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    x = torch.randint(0, 40, (rows, width)).float()
    x[torch.rand(rows, width) < 0.2] = -math.inf
    values, places = top(x, count)
    ordered, where = x.sort(dim=1, descending=True, stable=True)
    assert torch.equal(values, ordered[:, :count])
    assert torch.equal(places, where[:, :count])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype: torch.dtype) -> None:
    x = torch.randn(3, 50).to(dtype)
    assert torch.equal(top(x, 4)[0], x.topk(4).values)
    assert log_softmax_(x).dtype == torch.float32
