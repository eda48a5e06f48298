from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from saccade.nn.attention import (
    CrossAttention,
    SelfAttention,
    attend,
    attention_weights,
    merge_heads,
    split_heads,
)
from saccade.nn.masks import causal_mask, padding_mask
from tests.reference import transformer as reference
from tests.tiny import randomise

BATCH, HEADS, QUERIES, KEYS, WIDTH = 3, 2, 4, 5, 6


def masks() -> dict[str, Tensor | None]:
    """Every shape in which a mask comes."""
    generator = torch.Generator().manual_seed(1)
    some = torch.rand(BATCH, HEADS, QUERIES, KEYS, generator=generator) < 0.6
    some[..., 0] = True
    return {
        "none": None,
        "padding": padding_mask(torch.tensor([2, 5, 1]), KEYS),
        "causal": causal_mask(QUERIES, KEYS),
        "padding and causal": causal_mask(QUERIES, KEYS)[None, None] & (torch.arange(KEYS) < 3),
        "its own for each head and query": some,
        "a row that sees nothing": some & (torch.arange(QUERIES) != 2)[:, None],
    }


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shape = (BATCH, HEADS, KEYS, WIDTH)
    query = 2 * torch.randn(BATCH, HEADS, QUERIES, WIDTH, dtype=torch.float64)
    return query, torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def everywhere(mask: Tensor | None) -> Tensor:
    shape = (BATCH, HEADS, QUERIES, KEYS)
    return torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)


@pytest.mark.parametrize("kind", masks())
def test_weights_equal_a_loop_over_queries_and_keys(kind: str, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, key, _ = inputs
    mask = masks()[kind]
    weights = attention_weights(query, key, visible=mask)
    for b in range(BATCH):
        for h in range(HEADS):
            expected = reference.attention_weights(
                query[b, h].numpy(), key[b, h].numpy(), everywhere(mask)[b, h].numpy()
            )
            torch.testing.assert_close(weights[b, h], torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", masks())
def test_attend_equals_a_loop_torch_and_weights_times_value(
    kind: str, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, key, value = inputs
    mask = masks()[kind]
    mixed = attend(query, key, value, visible=mask)
    expected = torch.tensor(
        [
            [
                reference.attention(
                    query[b, h].numpy(),
                    key[b, h].numpy(),
                    value[b, h].numpy(),
                    everywhere(mask)[b, h].numpy(),
                ).tolist()
                for h in range(HEADS)
            ]
            for b in range(BATCH)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        mixed, scaled_dot_product_attention(query, key, value, attn_mask=mask), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(mixed, attention_weights(query, key, visible=mask) @ value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", masks())
def test_rows_of_weights_sum_to_one_and_hidden_cells_are_exactly_zero(
    kind: str, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, key, _ = inputs
    mask = everywhere(masks()[kind])
    weights = attention_weights(query, key, visible=mask)
    assert bool((weights[~mask] == 0).all())
    assert bool((weights[mask] > 0).all())
    torch.testing.assert_close(weights.sum(-1), mask.any(-1).double(), rtol=0, atol=1e-12)


def test_a_row_that_sees_nothing_is_zero_and_harms_no_gradient(
    inputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    query, key, value = (x.requires_grad_() for x in inputs)
    mask = everywhere(masks()["a row that sees nothing"])
    mixed = attend(query, key, value, visible=mask)
    assert bool((mixed[:, :, 2] == 0).all())
    assert bool((attention_weights(query, key, visible=mask)[:, :, 2] == 0).all())
    mixed.square().sum().backward()
    for x in (query, key, value):
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())
    assert query.grad is not None
    assert bool((query.grad[:, :, 2] == 0).all())


def test_heads_are_split_and_merged_in_the_order_of_the_channels() -> None:
    x = torch.arange(2 * 3 * 8.0).view(2, 3, 8)
    split = split_heads(x, 4)
    assert split.shape == (2, 4, 3, 2)
    assert split[1, 2, 0].tolist() == x[1, 0, 4:6].tolist()
    assert torch.equal(merge_heads(split), x)


def self_attention(*, heads: int, causal: bool, width: int = 12) -> SelfAttention:
    module = SelfAttention(width, heads=heads, causal=causal).double().eval()
    randomise(module)
    return module


def torch_twin(module: SelfAttention) -> nn.MultiheadAttention:
    twin = nn.MultiheadAttention(module.output.in_features, module.heads, batch_first=True).double().eval()
    twin.in_proj_weight, twin.in_proj_bias = module.query_key_value.weight, module.query_key_value.bias
    twin.out_proj.weight, twin.out_proj.bias = module.output.weight, module.output.bias
    return twin


def hidden_keys(visible: Tensor | None) -> Tensor | None:
    """torch's polarity: True = hidden."""
    return None if visible is None else ~visible[:, 0, 0]


@pytest.mark.parametrize("lengths", [(5, 5, 5), (5, 2, 4)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_self_attention_equals_torch(heads: int, causal: bool, lengths: tuple[int, ...]) -> None:
    module = self_attention(heads=heads, causal=causal)
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    visible = padding_mask(torch.tensor(lengths), 5)
    future = ~causal_mask(5, 5) if causal else None
    expected, weights = torch_twin(module)(
        x, x, x, key_padding_mask=hidden_keys(visible), attn_mask=future, average_attn_weights=False
    )
    torch.testing.assert_close(module(x, visible=visible), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.weights(x, visible=visible), weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [(6, 6), (6, 2)])
def test_cross_attention_equals_torch(lengths: tuple[int, ...]) -> None:
    module = CrossAttention(12, heads=3).double().eval()
    randomise(module)
    twin = nn.MultiheadAttention(12, 3, batch_first=True).double().eval()
    twin.in_proj_weight = nn.Parameter(torch.cat([module.query.weight, module.key_value.weight]))
    twin.in_proj_bias = nn.Parameter(torch.cat([module.query.bias, module.key_value.bias]))
    twin.out_proj.weight, twin.out_proj.bias = module.output.weight, module.output.bias
    x, memory = torch.randn(2, 4, 12, dtype=torch.float64), torch.randn(2, 6, 12, dtype=torch.float64)
    visible = padding_mask(torch.tensor(lengths), 6)
    expected, weights = twin(
        x, memory, memory, key_padding_mask=hidden_keys(visible), average_attn_weights=False
    )
    remembered = module.project_memory(memory)
    torch.testing.assert_close(module(x, remembered, visible=visible), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.weights(x, remembered, visible=visible), weights, rtol=0, atol=1e-12)


def test_heads_concatenated_and_projected_are_the_sum_of_heads_projected() -> None:
    module = self_attention(heads=3, causal=False)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    value = split_heads(module.query_key_value(x)[..., 24:], 3)
    heads = module.weights(x) @ value
    total = module.output.bias + sum(
        heads[:, h] @ module.output.weight[:, 4 * h : 4 * (h + 1)].T for h in range(3)
    )
    torch.testing.assert_close(module(x), total, rtol=0, atol=1e-12)


def test_one_head_is_plain_attention() -> None:
    module = self_attention(heads=1, causal=True)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    query, key, value = module.query_key_value(x).chunk(3, -1)
    plain = scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(module(x), module.output(plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize("module", [SelfAttention(8, heads=2, causal=True), CrossAttention(8, heads=2)])
def test_attention_dropout_acts_in_training_only(module: nn.Module) -> None:
    module.dropout = 0.5  # type: ignore[assignment]
    x = torch.randn(2, 6, 8)
    args = (x,) if isinstance(module, SelfAttention) else (x, module.project_memory(x))
    module.train()
    torch.manual_seed(3)
    first, second = module(*args), module(*args)
    assert not torch.equal(first, second)
    module.eval()
    assert torch.equal(module(*args), module(*args))


def test_attention_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    query, key, value = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 100, 4), torch.ones(1, 1, 100, 4)
    mixed = torch.stack([attend(query, key, value, dropout=0.3) for _ in range(400)])
    # 400 draws of a mean of 100: standard error sqrt(0.3 / 0.7 / 40,000) = 0.0033.
    assert abs(float(mixed.mean()) - 1) < 5 * math.sqrt(0.3 / 0.7 / 40_000)


def test_bfloat16_on_a_cpu_is_computed_in_float32_and_keeps_its_type() -> None:
    module = self_attention(heads=2, causal=True, width=8).float()
    x = torch.randn(2, 5, 8)
    exact = module(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0, atol=0.05 * float(exact.abs().max()))
    whole = module.bfloat16()(x.bfloat16())
    assert whole.dtype == torch.bfloat16
    torch.testing.assert_close(whole.float(), exact, rtol=0, atol=0.05 * float(exact.abs().max()))
