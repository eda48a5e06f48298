from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from saccade.nn.convolution import (
    ConvolutionalAttention,
    ConvolutionalEncoderLayer,
    GatedConvolution,
    ScaleGradient,
    folded,
    normed_linear,
)
from tests.tiny import randomise


def convolution(kernel: int) -> GatedConvolution:
    module = GatedConvolution(5, 4, kernel=kernel, dropout=0.0).double()
    randomise(module)
    return module


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_a_gated_convolution_equals_a_loop(kernel: int) -> None:
    module, x = convolution(kernel), torch.randn(2, 6 + kernel - 1, 5).double()
    weight, bias = module.convolution.weight, module.convolution.bias
    assert bias is not None
    out = module(x)
    assert out.shape == (2, 6, 4)
    for b in range(2):
        for i in range(6):
            both = bias + sum(weight[:, :, k] @ x[b, i + k] for k in range(kernel))
            expected = both[:4] * both[4:].sigmoid()
            torch.testing.assert_close(out[b, i], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_a_window_by_itself_gives_what_it_gives_within_the_sentence(kernel: int) -> None:
    module, x = convolution(kernel), torch.randn(2, 6 + kernel - 1, 5).double()
    out = module(x)
    for i in range(6):
        torch.testing.assert_close(module.window(x[:, i : i + kernel]), out[:, i], rtol=0, atol=1e-13)


def test_weight_norm_is_its_formula_for_each_output() -> None:
    for layer in (convolution(3).convolution, normed_linear(5, 4).double()):
        gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1  # type: ignore[union-attr]
        for g, v, w in zip(gain, direction, layer.weight, strict=True):
            torch.testing.assert_close(w, g * v / v.square().sum().sqrt(), rtol=0, atol=1e-12)


def test_weight_norm_starts_as_the_weights_it_replaces() -> None:
    torch.manual_seed(0)
    layer = normed_linear(400, 300, dropout=0.36)
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(0.64 / 400), rel=0.02)
    gated = GatedConvolution(100, 200, kernel=3, dropout=0.36).convolution
    assert float(gated.weight.detach().std()) == pytest.approx(math.sqrt(4 * 0.64 / 300), rel=0.02)


def test_padding_is_read_as_zeros() -> None:
    layer = ConvolutionalEncoderLayer(5, 4, kernel=3, dropout=0.0).double()
    x = torch.randn(1, 6, 5).double()
    real = torch.tensor([True] * 4 + [False] * 2)[None, :, None]
    torch.testing.assert_close(layer(x, real=real)[:, :4], layer(x[:, :4], real=None), rtol=0, atol=1e-13)


def test_a_folded_copy_computes_the_same_and_shares_what_is_not_normed() -> None:
    layer = ConvolutionalEncoderLayer(5, 4, kernel=3, dropout=0.0).double()
    randomise(layer)
    plain = folded(layer)
    assert not any(is_parametrized(module) for module in plain.modules())
    assert is_parametrized(layer.convolution.convolution)
    x = torch.randn(2, 6, 5).double()
    torch.testing.assert_close(plain(x, real=None), layer(x, real=None), rtol=0, atol=1e-13)
    assert plain.convolution.convolution.bias is layer.convolution.convolution.bias
    alone = nn.Linear(3, 2)
    assert folded(alone).weight is alone.weight
    normed = normed_linear(3, 2)
    assert torch.equal(folded(normed).weight, normed.weight)


def test_attention_scales_what_it_finds_by_the_root_of_the_length() -> None:
    attention = ConvolutionalAttention(4, 6).double()
    randomise(attention)
    x, embedded = torch.randn(2, 3, 4).double(), torch.randn(2, 3, 6).double()
    keys, values = torch.randn(2, 5, 6).double(), torch.randn(2, 5, 6).double()
    visible = (torch.arange(5) < torch.tensor([[5], [2]]))[:, None, None]
    root = torch.tensor([5.0, 2.0]).double().sqrt()[:, None, None]
    out = attention(x, embedded, (keys, values, root), visible=visible)
    weights = attention.weights(x, embedded, (keys, values, root), visible=visible)
    assert weights.shape == (2, 1, 3, 5)
    for b, length in enumerate((5, 2)):
        query = (attention.query(x[b]) + embedded[b]) * math.sqrt(0.5)
        look = (query @ keys[b, :length].T).softmax(-1)
        torch.testing.assert_close(weights[b, 0, :, :length], look, rtol=0, atol=1e-12)
        found = look @ values[b, :length] * (length * math.sqrt(1 / length))
        expected = (attention.output(found) + x[b]) * math.sqrt(0.5)
        torch.testing.assert_close(out[b], expected, rtol=0, atol=1e-12)


def test_a_gradient_is_scaled_and_the_value_is_not() -> None:
    x = torch.randn(3, requires_grad=True)
    out = ScaleGradient.apply(x, 0.25)  # type: ignore[no-untyped-call]
    assert torch.equal(out, x)
    (out**2).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 0.25 * 2 * x.detach())
