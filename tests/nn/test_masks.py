from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.nn.masks import band_mask, causal_mask, padding_mask


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 3))
def test_padding_mask_shows_real_tokens_only(lengths: list[int], extra: int) -> None:
    length = max(lengths) + extra
    mask = padding_mask(torch.tensor(lengths), length)
    if all(real == length for real in lengths):
        assert mask is None
        return
    assert mask is not None
    assert mask.shape == (len(lengths), 1, 1, length)
    assert mask.dtype == torch.bool
    for row, real in enumerate(lengths):
        assert mask[row, 0, 0].tolist() == [position < real for position in range(length)]


def test_without_padding_there_is_no_mask() -> None:
    assert padding_mask(torch.tensor([4, 4]), 4) is None


@given(st.integers(1, 6), st.integers(0, 5))
def test_causal_mask_shows_each_query_the_keys_up_to_its_own_position(queries: int, before: int) -> None:
    keys = queries + before
    mask = causal_mask(queries, keys)
    assert mask.tolist() == [[key <= query + before for key in range(keys)] for query in range(queries)]


@given(*[st.integers(0, 7)] * 5)
def test_band_mask_shows_what_is_near(queries: int, keys: int, before: int, after: int, offset: int) -> None:
    mask = band_mask(queries, keys, before=before, after=after, offset=offset)
    assert mask.tolist() == [
        [-before <= key - (offset + query) <= after for key in range(keys)] for query in range(queries)
    ]
