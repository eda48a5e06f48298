"""Blocks against torch.nn's own. Traps: torch's masks say True = hidden, its encoder's fast path writes
zeros at padded rows (switched off here), and nn.Transformer always adds final norms (not used here)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from saccade.nn.cache import KeyValueCache
from saccade.nn.layers import (
    ACTIVATIONS,
    Activation,
    BlockSettings,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Norm,
    Residual,
)
from saccade.nn.masks import causal_mask, padding_mask
from saccade.nn.rows import RowLayout
from tests.tiny import randomise

WIDTH, HEADS, INNER = 12, 3, 20
ACTIVATION_OF_TORCH = {"relu": "relu", "gelu": "gelu", "silu": nn.functional.silu}


def copy_linear(to: nn.Linear, *sources: nn.Linear) -> None:
    to.weight = nn.Parameter(torch.cat([source.weight for source in sources]))
    to.bias = nn.Parameter(torch.cat([source.bias for source in sources]))


def copy_attention(to: nn.MultiheadAttention, *projections: nn.Linear, output: nn.Linear) -> None:
    to.in_proj_weight = nn.Parameter(torch.cat([projection.weight for projection in projections]))
    to.in_proj_bias = nn.Parameter(torch.cat([projection.bias for projection in projections]))
    copy_linear(to.out_proj, output)


def torch_encoder_layer(
    layer: EncoderLayer, activation: Activation, norm: Norm
) -> nn.TransformerEncoderLayer:
    twin = nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        INNER,
        dropout=0.0,
        activation=ACTIVATION_OF_TORCH[activation],  # type: ignore[arg-type]
        batch_first=True,
        norm_first=norm == "pre",
    ).double()
    attention = layer.self_attention
    copy_attention(twin.self_attn, attention.query_key_value, output=attention.output)
    copy_linear(twin.linear1, layer.feed_forward.inner)
    copy_linear(twin.linear2, layer.feed_forward.outer)
    twin.norm1, twin.norm2 = layer.self_attention_residual.norm, layer.feed_forward_residual.norm
    return twin


def torch_decoder_layer(
    layer: DecoderLayer, activation: Activation, norm: Norm
) -> nn.TransformerDecoderLayer:
    twin = nn.TransformerDecoderLayer(
        WIDTH,
        HEADS,
        INNER,
        dropout=0.0,
        activation=ACTIVATION_OF_TORCH[activation],  # type: ignore[arg-type]
        batch_first=True,
        norm_first=norm == "pre",
    ).double()
    own, cross = layer.self_attention, layer.cross_attention
    copy_attention(twin.self_attn, own.query_key_value, output=own.output)
    copy_attention(twin.multihead_attn, cross.query, cross.key_value, output=cross.output)
    copy_linear(twin.linear1, layer.feed_forward.inner)
    copy_linear(twin.linear2, layer.feed_forward.outer)
    twin.norm1, twin.norm2 = layer.self_attention_residual.norm, layer.cross_attention_residual.norm
    twin.norm3 = layer.feed_forward_residual.norm
    return twin


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 5, WIDTH, dtype=torch.float64)


def final_norm(norm: Norm) -> nn.LayerNorm | None:
    """torch's stacks end in a norm only when told to: pre-norm needs it, post-norm has none."""
    if norm == "post":
        return None
    last = nn.LayerNorm(WIDTH).double()
    randomise(last, seed=9)
    return last


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_stack_of_encoder_layers_equals_torch(activation: Activation, norm: Norm, x: Tensor) -> None:
    layers = [
        EncoderLayer(BlockSettings(WIDTH, HEADS, INNER, activation=activation, norm=norm)).double()
        for _ in range(2)
    ]
    for seed, layer in enumerate(layers):
        randomise(layer, seed=seed)
    last = final_norm(norm)
    twin = nn.TransformerEncoder(
        torch_encoder_layer(layers[0], activation, norm), 2, norm=last, enable_nested_tensor=False
    )
    twin.layers = nn.ModuleList(torch_encoder_layer(layer, activation, norm) for layer in layers)
    visible = padding_mask(torch.tensor([5, 2, 4]), 5)
    assert visible is not None
    out = x
    for layer in layers:
        out = layer(out, visible=visible)
    out = out if last is None else last(out)
    # In training mode (dropout 0) torch takes its plain path; padded rows then agree too.
    expected = twin.train()(x, src_key_padding_mask=~visible[:, 0, 0])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_stack_of_decoder_layers_equals_torch(activation: Activation, norm: Norm, x: Tensor) -> None:
    layers = [
        DecoderLayer(BlockSettings(WIDTH, HEADS, INNER, activation=activation, norm=norm)).double()
        for _ in range(2)
    ]
    for seed, layer in enumerate(layers):
        randomise(layer, seed=seed)
    last = final_norm(norm)
    twin = nn.TransformerDecoder(torch_decoder_layer(layers[0], activation, norm), 2, norm=last)
    twin.layers = nn.ModuleList(torch_decoder_layer(layer, activation, norm) for layer in layers)
    memory = torch.randn(3, 6, WIDTH, dtype=torch.float64)
    visible = padding_mask(torch.tensor([3, 6, 1]), 6)
    assert visible is not None
    out = x
    for layer in layers:
        out = layer(out, layer.cross_attention.project_memory(memory), visible=visible)
    out = out if last is None else last(out)
    expected = twin.train()(x, memory, tgt_mask=~causal_mask(5, 5), memory_key_padding_mask=~visible[:, 0, 0])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


def test_gradients_equal_torch(x: Tensor) -> None:
    layer = DecoderLayer(BlockSettings(WIDTH, HEADS, INNER)).double()
    randomise(layer)
    twin = torch_decoder_layer(layer, "relu", "post")
    memory = torch.randn(3, 4, WIDTH, dtype=torch.float64)
    ours, theirs = ((x.clone().requires_grad_(), memory.clone().requires_grad_()) for _ in range(2))
    layer(ours[0], layer.cross_attention.project_memory(ours[1]), visible=None).square().sum().backward()
    twin(theirs[0], theirs[1], tgt_mask=~causal_mask(5, 5)).square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        layer.self_attention.query_key_value.weight.grad,
        twin.self_attn.in_proj_weight.grad,
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_decoder_layer_fed_one_position_at_a_time_gives_the_same(norm: Norm, x: Tensor) -> None:
    layer = DecoderLayer(BlockSettings(WIDTH, HEADS, INNER, norm=norm)).double()
    randomise(layer)
    memory = layer.cross_attention.project_memory(torch.randn(3, 4, WIDTH, dtype=torch.float64))
    visible = padding_mask(torch.tensor([4, 1, 3]), 4)
    cache = KeyValueCache.empty(3, HEADS, 5, WIDTH // HEADS, like=x)
    layout = RowLayout.even(3, 1)
    steps = [layer.step(x[:, i], memory, visible=visible, cache=cache, layout=layout) for i in range(5)]
    torch.testing.assert_close(torch.stack(steps, 1), layer(x, memory, visible=visible), rtol=0, atol=1e-12)


def test_feed_forward_is_position_wise(x: Tensor) -> None:
    module = FeedForward(WIDTH, INNER).double()
    together = module(x)
    for b in range(3):
        for i in range(5):
            torch.testing.assert_close(together[b, i], module(x[b, i]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_residual_norm_stands_where_its_name_says(norm: Norm, x: Tensor) -> None:
    module = Residual(WIDTH, norm=norm, dropout=0.0).double()
    randomise(module)
    expected = module.norm(x + x.cos()) if norm == "post" else x + module.norm(x).cos()
    torch.testing.assert_close(module(x, torch.cos), expected, rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_dropout_of_sublayers_leaves_the_residual_path_alone(norm: Norm, x: Tensor) -> None:
    module = Residual(WIDTH, norm=norm, dropout=0.9).double().train()
    seen = []
    module.norm.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    torch.manual_seed(0)
    out = module(x, lambda y: 1000 + 0 * y)
    added = (seen[0] if norm == "post" else out) - x
    # Each channel has either nothing or the scaled sub-layer's output on top of x.
    dropped = added.abs() < 1e-9
    assert 0.8 < float(dropped.double().mean()) < 1
    torch.testing.assert_close(added[~dropped], torch.full_like(added[~dropped], 10_000.0), rtol=1e-4, atol=0)
