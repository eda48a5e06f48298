"""Attention in blocks against dense attention with a band mask."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from saccade.nn.alibi import AlibiPositions
from saccade.nn.attention import AttentionPositions, SelfAttention
from saccade.nn.layers import BlockSettings, DecoderLayer, EncoderLayer
from saccade.nn.local import attend_in_blocks, block_size
from saccade.nn.masks import band_mask, padding_mask
from saccade.nn.relative import RelativePositions
from saccade.nn.rotary import RotaryPositions
from tests.tiny import randomise

HEADS, WIDTH = 2, 4
LONG = 70  # more than four of the smallest blocks

KINDS = ["content", "relative", "rotary", "alibi"]


def positions(kind: str, *, causal: bool) -> AttentionPositions:
    made: AttentionPositions = {
        "content": AttentionPositions,
        "relative": partial(RelativePositions, WIDTH, max_distance=3, causal=causal),
        "rotary": partial(RotaryPositions, WIDTH),
        "alibi": partial(AlibiPositions, HEADS),
    }[kind]()
    return made.double()


def inputs(batch: int, length: int, *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, HEADS, length, WIDTH)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(1, 23), min_size=1, max_size=3),
    st.integers(0, 9),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=120)
def test_blocks_equal_dense_attention_with_a_band_mask(
    kind: str, lengths: list[int], window: int, block: int, causal: bool
) -> None:
    """Outputs and gradients, with padding, for lengths that are no multiples of a block too."""
    length, after = max(lengths), 0 if causal else window
    attend = positions(kind, causal=causal).attend
    visible = padding_mask(torch.tensor(lengths), length)
    near = band_mask(length, length, before=window, after=after)
    dense_inputs, block_inputs = inputs(len(lengths), length), inputs(len(lengths), length)
    dense = attend(*dense_inputs, offset=0, visible=near if visible is None else near & visible)
    blocks = attend_in_blocks(attend, *block_inputs, visible=visible, before=window, after=after, block=block)
    torch.testing.assert_close(blocks, dense, rtol=0, atol=1e-12)
    direction = torch.randn(dense.shape, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad(blocks, block_inputs, direction),
        torch.autograd.grad(dense, dense_inputs, direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_length_alone_decides_when_blocks_are_worth_it() -> None:
    assert [block_size(length, window=3) for length in (1, 64, 65, 10_000)] == [None, None, 16, 16]
    assert [block_size(length, window=100) for length in (400, 401)] == [None, 100]


def module(kind: str, *, causal: bool, window: int | None) -> SelfAttention:
    torch.manual_seed(0)
    made = SelfAttention(
        HEADS * WIDTH,
        heads=HEADS,
        causal=causal,
        window=window,
        positions=positions(kind, causal=causal),
    )
    randomise(made)
    return made.double().eval()


@pytest.mark.parametrize("length", [9, LONG])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_banded_map_is_recorded_whichever_path_ran(kind: str, causal: bool, length: int) -> None:
    attention = module(kind, causal=causal, window=3)
    x = torch.randn(2, length, HEADS * WIDTH, dtype=torch.float64)
    visible = padding_mask(torch.tensor([length, length - 4]), length)
    weights = attention.weights(x, visible=visible)
    near = band_mask(length, length, before=3, after=0 if causal else 3)
    assert visible is not None
    assert torch.equal(weights > 0, (near & visible).expand_as(weights))
    seen = (near & visible).any(-1).expand_as(weights[..., 0])
    torch.testing.assert_close(weights.sum(-1), seen.double(), rtol=0, atol=1e-12)
    value = attention.query_key_value(x)[..., 2 * HEADS * WIDTH :].unflatten(-1, (HEADS, WIDTH))
    mixed = weights @ value.transpose(1, 2)
    if isinstance(attention.positions, RelativePositions):
        for i in range(length):
            for j in range(length):
                distance = max(-3, min(attention.positions.after, j - i)) + 3
                mixed[:, :, i] += weights[:, :, i, j, None] * attention.positions.values[distance]
    expected = attention.output(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, visible=visible), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_sees_everything_changes_nothing(kind: str, causal: bool) -> None:
    x = torch.randn(2, 12, HEADS * WIDTH, dtype=torch.float64)
    narrow, wide, full = (module(kind, causal=causal, window=window) for window in (4, 11, None))
    torch.testing.assert_close(wide(x), full(x), rtol=0, atol=1e-12)
    assert not torch.allclose(narrow(x), full(x), rtol=0, atol=1e-3)


def reach(layers: list[Any], length: int, at: int) -> list[int]:
    """Where the output changes at all when the input at one position does."""
    torch.manual_seed(0)
    x = torch.randn(1, length, HEADS * WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[:, at] += 1
    memory = torch.randn(1, 3, HEADS * WIDTH, dtype=torch.float64)
    for layer in layers:
        if isinstance(layer, EncoderLayer):
            x, changed = layer(x, visible=None), layer(changed, visible=None)
        else:
            remembered = layer.cross_attention.project_memory(memory)
            x = layer(x, remembered, visible=None)
            changed = layer(changed, remembered, visible=None)
    return (x != changed).any(-1)[0].nonzero().flatten().tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("length", [40, LONG + 7])
@pytest.mark.parametrize(("windows", "total"), [((3,), 3), ((3, 3), 6), ((1, 4, 2), 7)])
def test_layers_reach_exactly_the_sum_of_their_windows(
    windows: tuple[int, ...], total: int, length: int
) -> None:
    """By perturbation, and exactly: beyond it not even the last bit moves. L layers of r reach L r."""
    at, width = length // 2, HEADS * WIDTH
    both: list[list[Any]] = [
        [layer(BlockSettings(width, HEADS, 8), window=window).double().eval() for window in windows]
        for layer in (EncoderLayer, DecoderLayer)
    ]
    assert reach(both[0], length, at) == list(range(at - total, at + total + 1))
    assert reach(both[1], length, at) == list(range(at, at + total + 1))


class Elements(TorchDispatchMode):
    """Counts the elements of everything that is computed, and of the largest tensor."""

    total = largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and not getattr(function, "is_view", False):
                self.total += tensor.numel()
                self.largest = max(self.largest, tensor.numel())
        return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_work_and_memory_grow_linearly_with_length(kind: str, causal: bool) -> None:
    """Forward and backward, counted in elements; without a window they quadruple."""
    counts: dict[int | None, list[tuple[int, int]]] = {}
    for window in (4, None):
        attention = module(kind, causal=causal, window=window)
        counts[window] = []
        for length in (512, 1024):
            x = torch.randn(1, length, HEADS * WIDTH, dtype=torch.float64, requires_grad=True)
            if isinstance(attention.positions, RotaryPositions):
                attention.positions.angles.rows(0, 1024)
            with Elements() as elements:
                attention(x).sum().backward()
            counts[window].append((elements.total, elements.largest))
    (short_total, short_largest), (long_total, long_largest) = counts[4]
    assert long_total <= 2.05 * short_total
    assert long_largest <= 2.05 * short_largest
    if kind in ("relative", "alibi"):  # the others leave the square to the kernel
        assert counts[None][1][1] > 3.9 * counts[None][0][1]


def test_attention_dropout_acts_in_blocks_too() -> None:
    for kind in ("content", "relative"):
        attention = module(kind, causal=True, window=3)
        attention.dropout = 0.5
        x = torch.randn(1, LONG, HEADS * WIDTH, dtype=torch.float64)
        assert torch.equal(attention(x), attention(x))
        assert not torch.equal(attention.train()(x), attention(x))


def test_a_mask_that_is_no_padding_mask_is_refused() -> None:
    attention = module("content", causal=False, window=3)
    x = torch.randn(1, LONG, HEADS * WIDTH, dtype=torch.float64)
    with pytest.raises(RuntimeError):
        attention(x, visible=torch.ones(1, 1, LONG, LONG, dtype=torch.bool))
