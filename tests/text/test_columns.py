"""What a column may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saccade.text.columns import Column, require_aligned


@pytest.mark.parametrize(("vocab_size", "dtype"), [(8, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_ids_take_two_bytes_as_long_as_they_fit(vocab_size: int, dtype: str) -> None:
    assert Column.ids("source", vocab_size=vocab_size).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "batch"),
    [
        (np.uint8, np.uint8),
        (np.int16, np.int16),
        (np.float32, np.float32),
        (np.uint16, np.int64),
        (">f4", np.float32),
    ],
)
def test_numbers_keep_their_type_in_a_batch_but_for_counts(dtype: Any, batch: Any) -> None:
    assert Column.numbers("frames", dtype, width=3).batch_dtype == np.dtype(batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Column.ids("Source", vocab_size=5), "lower-case"),
        (lambda: Column.ids("../source", vocab_size=5), "lower-case"),
        (lambda: Column.numbers("x", np.float64), "none of"),
        (lambda: Column.numbers("x", np.float32, width=0), "at least 1"),
        (lambda: Column("x", "<u2", vocab_size=3, width=2), "is for numbers"),
        (lambda: Column.numbers("x", np.uint16, aligned_with="x"), "itself"),
    ],
)
def test_a_column_whose_parts_do_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_columns_are_aligned_with_one_that_has_positions_of_its_own() -> None:
    source = Column.ids("source", vocab_size=5)
    counts = Column.numbers("counts", np.uint16, aligned_with="source")
    assert list(require_aligned([counts, source])) == ["counts", "source"]
    with pytest.raises(ValueError, match="missing or has no positions"):
        require_aligned([counts])
    with pytest.raises(ValueError, match="missing or has no positions"):
        require_aligned([source, counts, Column.numbers("more", np.uint8, aligned_with="counts")])
    with pytest.raises(ValueError, match="a name stands twice"):
        require_aligned([source, source])
