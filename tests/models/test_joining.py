"""Rows of a running batch: every one goes on as it would by itself, whoever comes, goes and moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saccade.nn.joining import join_masks, join_padded
from saccade.nn.masks import padding_mask
from saccade.nn.rows import RowLayout, Rows
from tests.kinds import KINDS, network
from tests.tiny import padded, sentences

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    "learned": ("transformer", {"positions": "learned", "max_positions": 40}),
    "no positions": ("transformer", {"positions": "none", "norm": "pre"}),
    "sinusoidal, windows": ("transformer", {"window": (2, 0, 3, 1)}),
    "rotary, windows": ("transformer, rotary", {"window": 2}),
    "relative, windows": ("transformer, relative", {"window": 2}),
    "alibi, windows": ("transformer, alibi", {"window": 3}),
}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_each_row_has_the_logits_of_the_full_pass_over_its_own_past(data: st.DataObject) -> None:
    """Sentences of different age and with different numbers of rows, in an order that changes."""
    kind, changes = VARIANTS[data.draw(st.sampled_from(sorted(VARIANTS)))]
    model = network(kind, **changes)
    source, histories, state = [], [], None
    with torch.no_grad():
        for step in range(6):
            if state is None or data.draw(st.booleans(), label="somebody joins"):
                lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2))
                new = sentences(lengths, seed=step)
                fresh = model.start(model.encode(*padded(new)), 9)
                state = fresh if state is None else state.join(fresh)
                source += new
                histories += [[[model.vocabulary.start]] for _ in new]
            token = torch.tensor([past[-1] for group in histories for past in group])
            out, state = model.step(token, state)
            owners = [sentence for sentence, group in zip(source, histories, strict=True) for _ in group]
            for row, (sentence, past) in enumerate(
                zip(owners, [past for group in histories for past in group], strict=True)
            ):
                full = model(torch.tensor([past]), model.encode(*padded([sentence])))
                torch.testing.assert_close(out[row], full[0, -1], rtol=0, atol=1e-12)
            rows, source, histories = moved(data, source, histories)
            state = state.select(rows)


def moved(
    data: st.DataObject, source: list[list[int]], histories: list[list[list[int]]]
) -> tuple[Rows, list[list[int]], list[list[list[int]]]]:
    """What a search might select: some sentences, in any order, with any of their rows."""
    first = [sum(map(len, histories[:n])) for n in range(len(histories))]
    kept = data.draw(st.permutations(range(len(histories))))
    kept = kept[: data.draw(st.integers(1, len(kept)))]
    chosen = [
        data.draw(st.lists(st.integers(0, len(histories[n]) - 1), min_size=1, max_size=3)) for n in kept
    ]
    index = torch.tensor([first[n] + one for n, own in zip(kept, chosen, strict=True) for one in own])
    stay = kept == list(range(len(histories)))
    rows = Rows(index, None if stay else torch.tensor(kept), RowLayout(tuple(map(len, chosen))))
    following = [
        [[*histories[n][one], data.draw(st.integers(4, 12))] for one in own]
        for n, own in zip(kept, chosen, strict=True)
    ]
    return rows, [source[n] for n in kept], following


# --- which rows are whose ------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_grid_has_a_line_for_each_sentence_and_gives_the_rows_back(counts: list[int]) -> None:
    layout = RowLayout(tuple(counts))
    x = torch.arange(2 * sum(counts)).view(-1, 2)
    grid = layout.grid(x)
    assert grid.shape == (len(counts), max(counts), 2)
    assert torch.equal(layout.flat(grid), x)
    rows = iter(x.tolist())
    for line, count in zip(grid.tolist(), counts, strict=True):
        own = [next(rows) for _ in range(count)]
        assert line == [*own, *[own[-1]] * (max(counts) - count)]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_what_belongs_to_a_sentence_is_spread_over_its_rows(counts: list[int]) -> None:
    spread = RowLayout(tuple(counts)).spread(torch.arange(len(counts)))
    assert spread.tolist() == [sentence for sentence, count in enumerate(counts) for _ in range(count)]


def test_where_all_have_equally_many_rows_nothing_is_copied() -> None:
    layout, x = RowLayout.even(3, 2), torch.zeros(6, 4)
    assert layout.grid(x).data_ptr() == x.data_ptr() == layout.flat(layout.grid(x)).data_ptr()
    assert layout.joined(RowLayout.even(1, 2)) == RowLayout.even(4, 2)


# --- memories ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [([3, 1], [2]), ([2], [4, 4]), ([3], [3]), ([2, 1], [2, 2])])
def test_joined_masks_hide_the_padding_of_both(first: list[int], second: list[int]) -> None:
    masks = [padding_mask(torch.tensor(lengths), max(lengths)) for lengths in (first, second)]
    sizes = (len(first), max(first)), (len(second), max(second))
    joined = join_masks(*masks, sizes=sizes)
    expected = padding_mask(torch.tensor(first + second), max(first + second))
    assert (joined is None) == (expected is None)
    assert joined is None or torch.equal(joined, expected)


def test_a_joined_memory_is_filled_up_with_zeros() -> None:
    first, second = torch.ones(1, 2, 3, 4), torch.full((2, 2, 5, 4), 2.0)
    joined: Tensor = join_padded(first, second, axis=2)
    assert joined.shape == (3, 2, 5, 4)
    assert torch.equal(joined[:1, :, :3], first)
    assert torch.equal(joined[1:], second)
    assert not joined[0, :, 3:].any()
