"""Copies of the source against loops written from the paper."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.nn.copying import copies_by_fertility, copies_uniformly
from tests.reference.nonautoregressive import copied_by_fertility, copied_uniformly

rows = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 4), min_size=width, max_size=width), min_size=1, max_size=4
    )
)


@given(rows)
def test_each_source_position_is_copied_as_often_as_its_fertility_says(fertilities: list[list[int]]) -> None:
    index, lengths = copies_by_fertility(torch.tensor(fertilities))
    assert lengths.tolist() == [sum(row) for row in fertilities]
    for row, (wanted, length) in enumerate(zip(fertilities, lengths.tolist(), strict=True)):
        assert index[row, :length].tolist() == copied_by_fertility(range(len(wanted)), wanted)


def test_fertilities_that_are_all_one_keep_the_order_of_the_source() -> None:
    index, lengths = copies_by_fertility(torch.ones(2, 5, dtype=torch.int64))
    assert index.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert lengths.tolist() == [5, 5]


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 15)), min_size=1, max_size=4))
def test_uniform_copies_are_spread_evenly(pairs: list[tuple[int, int]]) -> None:
    source, target = (torch.tensor(column) for column in zip(*pairs, strict=True))
    index = copies_uniformly(source, target)
    for row, (words, length) in enumerate(pairs):
        assert index[row, :length].tolist() == copied_uniformly(range(words), length)


def test_twice_as_many_inputs_get_each_source_position_twice() -> None:
    assert copies_uniformly(torch.tensor([3]), torch.tensor([6])).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_what_stands_behind_a_row_stays_inside_the_source() -> None:
    index, _ = copies_by_fertility(torch.tensor([[0, 0, 0], [2, 3, 4]]))
    assert int(index.max()) <= 2 and int(index.min()) >= 0
    uniform = copies_uniformly(torch.tensor([2, 0]), torch.tensor([9, 0]))
    assert int(uniform.max()) <= 1 and int(uniform.min()) >= 0
