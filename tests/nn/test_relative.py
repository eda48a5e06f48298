from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from saccade.nn.attention import attend
from saccade.nn.masks import causal_mask, padding_mask
from saccade.nn.relative import RelativePositions
from tests.reference.positions import Head
from tests.tiny import randomise

BATCH, HEADS, LENGTH, WIDTH = 2, 2, 7, 4


def module(*, max_distance: int = 2, causal: bool = False) -> RelativePositions:
    made = RelativePositions(WIDTH, max_distance=max_distance, causal=causal)
    randomise(made)
    return made.double()


def inputs(queries: int = LENGTH) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    key, value = torch.randn(2, BATCH, HEADS, LENGTH, WIDTH, dtype=torch.float64)
    return torch.randn(BATCH, HEADS, queries, WIDTH, dtype=torch.float64), key, value


def both_sides(table: Tensor, max_distance: int) -> np.ndarray:
    """2k + 1 rows: causal tables have none for the future; nonsense there must not matter."""
    rows = table.detach().numpy()
    return np.concatenate([rows, np.full((2 * max_distance + 1 - len(rows), rows.shape[1]), 1e3)])


@pytest.mark.parametrize("max_distance", [1, 2, 10])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [(LENGTH, LENGTH), (3, LENGTH)])
def test_it_equals_a_loop_written_from_the_paper(
    max_distance: int, causal: bool, lengths: tuple[int, int]
) -> None:
    positions, (query, key, value) = module(max_distance=max_distance, causal=causal), inputs()
    visible = padding_mask(torch.tensor(lengths), LENGTH)
    ours = positions.attend(query, key, value, offset=0, visible=visible, causal=causal).detach()
    seen = causal_mask(LENGTH, LENGTH) if causal else torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    tables = both_sides(positions.keys, max_distance), both_sides(positions.values, max_distance)
    for b in range(BATCH):
        real = seen if visible is None else seen & visible[b, 0]
        for h in range(HEADS):
            head = Head("relative", h + 1, HEADS, tables, max_distance)
            expected = head(query[b, h].numpy(), key[b, h].numpy(), value[b, h].numpy(), real.numpy())
            assert np.abs(ours[b, h].numpy() - expected).max() < 1e-12


def test_a_query_by_itself_counts_from_its_own_place() -> None:
    positions, (query, key, value) = module(causal=True), inputs()
    together = positions.attend(query, key, value, offset=0, causal=True)
    for i in range(LENGTH):
        alone = positions.attend(query[:, :, i : i + 1], key[:, :, : i + 1], value[:, :, : i + 1], offset=i)
        torch.testing.assert_close(alone, together[:, :, i : i + 1], rtol=0, atol=1e-12)


def test_tables_of_zeros_are_plain_attention() -> None:
    positions, (query, key, value) = module(), inputs()
    with torch.no_grad():
        positions.keys.zero_()
        positions.values.zero_()
    ours = positions.attend(query, key, value, offset=0, causal=True)
    torch.testing.assert_close(ours, attend(query, key, value, causal=True), rtol=0, atol=1e-12)


def test_one_vector_for_all_distances_adds_itself_to_the_output() -> None:
    """Weights sum to 1; a key's vector that is always the same moves all scores of a query alike."""
    positions, (query, key, value) = module(), inputs()
    with torch.no_grad():
        positions.keys.copy_(positions.keys[0].expand_as(positions.keys).clone())
        positions.values.copy_(positions.values[0].expand_as(positions.values).clone())
    ours = positions.attend(query, key, value, offset=0)
    torch.testing.assert_close(ours, attend(query, key, value) + positions.values[0], rtol=0, atol=1e-12)


def test_heads_share_their_tables_and_the_past_has_no_rows_for_the_future() -> None:
    assert module(max_distance=16).keys.shape == (33, WIDTH)
    assert module(max_distance=16, causal=True).keys.shape == (17, WIDTH)


def test_a_query_that_sees_nothing_gives_zeros_and_harms_no_gradient() -> None:
    positions, tensors = module(), [x.requires_grad_() for x in inputs()]
    visible = (torch.arange(LENGTH) != 2)[:, None].expand(LENGTH, LENGTH)
    mixed = positions.attend(*tensors, offset=0, visible=visible)
    assert not bool(mixed[:, :, 2].any())
    mixed.square().sum().backward()
    for x in (*tensors, positions.keys, positions.values):
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())


def test_bfloat16_on_a_cpu_is_computed_in_float32_and_keeps_its_type() -> None:
    positions = module().float()
    query, key, value = (x.float() for x in inputs())
    exact = positions.attend(query, key, value, offset=0)
    low = [x.bfloat16() for x in (query, key, value)]
    rounded = positions.attend(*(x.float() for x in low), offset=0)
    with torch.autocast("cpu", torch.bfloat16):
        ours = positions.attend(*low, offset=0)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, rounded.bfloat16())
    torch.testing.assert_close(ours.float(), exact, rtol=0, atol=0.05 * float(exact.detach().abs().max()))
