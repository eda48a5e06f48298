from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from saccade.native import attention as native
from saccade.native.library import library, why_not

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


def heads(batch: int, count: int, length: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """As they come out of a projection: (batch, length, heads, width), turned."""
    return torch.randn(batch, length, count, width).to(dtype).transpose(1, 2).requires_grad_()


def visible_keys(batch: int, keys: int, *, nobody: bool) -> Tensor:
    visible = torch.rand(batch, 1, 1, keys) < 0.7
    visible[..., 0] = True
    if nobody:
        visible[0] = False
    return visible


@given(
    batch=st.integers(1, 3),
    count=st.integers(1, 3),
    queries=st.integers(1, 40),
    keys=st.integers(1, 40),
    width=st.integers(1, 40),
    how=st.sampled_from(["all", "padding", "a sentence of padding only", "causal", "causal and padding"]),
    seed=st.integers(0, 1000),
)
def test_result_and_gradients_equal_torch_in_float64(
    batch: int, count: int, queries: int, keys: int, width: int, how: str, seed: int
) -> None:
    torch.manual_seed(seed)
    causal = "causal" in how
    keys = queries if causal else keys
    inputs = (
        heads(batch, count, queries, width),
        heads(batch, count, keys, width),
        heads(batch, count, keys, width),
    )
    visible = visible_keys(batch, keys, nobody="only" in how) if "padding" in how else None
    assert native.serves(*inputs, visible=visible, causal=causal)
    out = native.short_attention(*inputs, visible=visible, causal=causal, dropout=0.0)
    outer = torch.randn_like(out)
    slopes = torch.autograd.grad(out, inputs, outer)

    exact = [x.detach().double().requires_grad_() for x in inputs]
    mask = torch.ones(batch, 1, queries, keys, dtype=torch.bool)
    if causal:
        mask = mask.tril()
    if visible is not None:
        mask = mask & visible
    expected = scaled_dot_product_attention(*exact, attn_mask=mask)
    expected = torch.where(mask.any(-1, keepdim=True), expected, 0.0)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=2e-5)
    for mine, theirs in zip(slopes, torch.autograd.grad(expected, exact, outer.double()), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("width", [16, 64])
def test_a_gradient_that_is_no_dense_tensor_is_read_before_its_copy_is_freed(width: int) -> None:
    torch.manual_seed(1)
    inputs = [heads(8, 8, 64, width) for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    scaled_dot_product_attention(*exact).sum().backward()  # the gradient of a sum is one expanded number
    for _ in range(10):
        out = native.short_attention(*inputs, visible=None, causal=False, dropout=0.0)
        for own, other in zip(torch.autograd.grad(out.sum(), inputs), exact, strict=True):
            torch.testing.assert_close(own.double(), other.grad, atol=1e-4, rtol=0)


def test_in_bfloat16_only_inputs_and_results_are_rounded() -> None:
    torch.manual_seed(0)
    low = [heads(2, 2, 20, 24, torch.bfloat16) for _ in range(3)]
    high = [x.detach().float().requires_grad_() for x in low]
    outs = [native.short_attention(*inputs, visible=None, causal=True, dropout=0.0) for inputs in (low, high)]
    assert torch.equal(outs[0], outs[1].to(torch.bfloat16))
    outer = torch.randn(2, 2, 20, 24).to(torch.bfloat16)
    slopes = torch.autograd.grad(outs[0], low, outer), torch.autograd.grad(outs[1], high, outer.float())
    for mine, theirs in zip(*slopes, strict=True):
        assert torch.equal(mine, theirs.to(torch.bfloat16))


def weights_after_dropout(*, rate: float, seed: int, keys: int = 50) -> Tensor:
    """With one-hot values the result is the weights."""
    torch.manual_seed(seed)
    query, key = torch.zeros(40, 2, 30, keys), torch.zeros(40, 2, keys, keys)
    value = torch.eye(keys).expand(40, 2, keys, keys)
    return native.short_attention(query, key, value, visible=None, causal=False, dropout=rate)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_falls_independently(rate: float) -> None:
    weights = weights_after_dropout(rate=rate, seed=1).double()
    kept = weights * 50 * (1 - rate)
    assert set(kept.round(decimals=3).unique().tolist()) == {0.0, 1.0}
    count = kept.numel()
    assert abs(float(kept.mean()) - (1 - rate)) < 5 * (rate * (1 - rate) / count) ** 0.5 + 2**-16
    centred = (kept.round() - (1 - rate)) / (rate * (1 - rate)) ** 0.5
    for axis in range(4):
        shifted = centred.narrow(axis, 1, centred.size(axis) - 1) * centred.narrow(
            axis, 0, centred.size(axis) - 1
        )
        assert abs(float(shifted.mean())) < 5 / shifted.numel() ** 0.5


def test_the_generator_decides_what_falls_whatever_the_threads() -> None:
    first, other = weights_after_dropout(rate=0.3, seed=1), weights_after_dropout(rate=0.3, seed=2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(weights_after_dropout(rate=0.3, seed=1), first)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(first, other)


def test_gradients_with_dropout_are_those_of_the_weights_that_stayed() -> None:
    """A linear function of the values: its gradient is the weights themselves, dropped ones 0."""
    torch.manual_seed(3)
    query, key = heads(2, 2, 6, 8), heads(2, 2, 5, 8)
    value = torch.eye(5).expand(2, 2, 5, 5).contiguous()
    torch.manual_seed(4)
    wide = torch.zeros(2, 2, 5, 8)
    wide[..., :5] = value
    wide.requires_grad_()
    weights = native.short_attention(query, key, wide, visible=None, causal=False, dropout=0.4)[..., :5]
    outer = torch.randn(2, 2, 6, 5)
    kept = (weights != 0) / 0.6
    slopes = torch.autograd.grad(weights, (query, key), outer)
    exact = [x.detach().double().requires_grad_() for x in (query, key)]
    plain = (exact[0] @ exact[1].transpose(-2, -1) / 8**0.5).softmax(-1) * kept
    for mine, theirs in zip(slopes, torch.autograd.grad(plain, exact, outer.double()), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)


def test_long_sequences_and_other_masks_are_left_to_torch() -> None:
    short, long = torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, native.LONGEST + 1, 8)
    assert not native.serves(short, long, long, visible=None, causal=False)
    per_query = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert not native.serves(short, short, short, visible=per_query, causal=False)
    assert not native.serves(short.double(), short.double(), short.double(), visible=None, causal=False)


def test_nan_is_not_hidden() -> None:
    query, key, value = (torch.zeros(1, 1, 4, 8) for _ in range(3))
    query[0, 0, 1, 3] = float("nan")
    out = native.short_attention(query, key, value, visible=None, causal=False, dropout=0.0)
    assert out.isnan().any(-1).flatten().tolist() == [False, True, False, False]
