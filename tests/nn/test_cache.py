from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saccade.nn.cache import KeyValueCache

CAPACITY = 6


@given(st.data())
def test_a_cache_holds_what_each_row_wrote_whatever_rows_are_selected(data: st.DataObject) -> None:
    """Against plain lists: rows repeat, change order and number, leave and come back."""
    torch.manual_seed(0)
    rows = data.draw(st.integers(1, 4))
    cache = KeyValueCache.empty(rows, 2, CAPACITY, 3, like=torch.zeros(()))
    past: list[list[Tensor]] = [[] for _ in range(rows)]
    for _ in range(CAPACITY):
        key = torch.randn(len(past), 2, 1, 3)
        keys, values = cache.append(key, -key)
        past = [[*row, key[i]] for i, row in enumerate(past)]
        expected = torch.stack([torch.cat(row, 1) for row in past])
        assert torch.equal(keys, expected)
        assert torch.equal(values, -expected)
        if data.draw(st.booleans()):
            chosen = data.draw(st.lists(st.integers(0, len(past) - 1), min_size=1, max_size=6))
            cache = cache.select(torch.tensor(chosen))
            past = [past[row] for row in chosen]


def test_several_positions_may_join_at_once() -> None:
    cache = KeyValueCache.empty(2, 1, 5, 3, like=torch.zeros((), dtype=torch.float64))
    x = torch.randn(2, 1, 4, 3, dtype=torch.float64)
    cache.append(x[:, :, :3], x[:, :, :3])
    keys, _ = cache.append(x[:, :, 3:], x[:, :, 3:])
    assert keys.dtype == torch.float64
    assert torch.equal(keys, x)


def test_room_is_preallocated_and_reused() -> None:
    cache = KeyValueCache.empty(4, 1, CAPACITY, 3, like=torch.zeros(()))
    cache.append(torch.ones(4, 1, 1, 3), torch.ones(4, 1, 1, 3))
    fewer = cache.select(torch.tensor([3, 3, 0]))
    assert fewer.keys.data_ptr() == cache.keys.data_ptr()
    more = fewer.select(torch.tensor([0, 0, 1, 1, 2]))
    assert more.keys.shape == (5, 1, CAPACITY, 3)


def test_a_full_cache_refuses_more() -> None:
    cache = KeyValueCache.empty(1, 1, 1, 3, like=torch.zeros(()))
    cache.append(torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 3))
    with pytest.raises(ValueError, match="holds 1 positions, 2 are needed"):
        cache.append(torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 3))


@given(st.data())
def test_who_joins_sees_its_own_columns_alone_and_old_ones_are_dropped(data: st.DataObject) -> None:
    """Against plain lists, with rows that leave and others that join at any time."""
    torch.manual_seed(0)
    cache = KeyValueCache.empty(1, 2, 2, 3, like=torch.zeros(()))
    past: list[list[Tensor]] = [[]]
    for _ in range(8):
        if data.draw(st.booleans(), label="join") or cache.length == cache.keys.size(2):
            new = data.draw(st.integers(1, 2))
            cache = cache.joined(KeyValueCache.empty(new, 2, 3, 3, like=cache.keys))
            past = past + [[] for _ in range(new)]
        key = torch.randn(len(past), 2, 1, 3)
        keys, _ = cache.append(key, key)
        past = [[*row, key[i]] for i, row in enumerate(past)]
        visible = cache.visible
        for row, own in enumerate(past):
            seen = keys[row] if visible is None else keys[row, :, visible[row, 0, 0]]
            assert torch.equal(seen, torch.cat(own, 1))
        assert bool(keys.isfinite().all())
        chosen = data.draw(st.lists(st.integers(0, len(past) - 1), min_size=1, max_size=4))
        cache = cache.select(torch.tensor(chosen))
        past = [past[row] for row in chosen]
        assert cache.length == max(map(len, past))
        assert (cache.visible is None) == (len({len(row) for row in past}) == 1)
