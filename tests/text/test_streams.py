"""Streams of running text against plain slices."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saccade.text.streams import Streams

PAD = -1


@st.composite
def texts(draw: st.DrawFn) -> tuple[np.ndarray, Streams, int]:
    size = draw(st.integers(1, 40))
    ids = np.arange(size, dtype=np.uint16)
    streams = Streams(ids, draw(st.integers(1, size)), draw(st.integers(0, size - 1)))
    return ids, streams, draw(st.integers(1, 8))


def gather(streams: Streams, length: int) -> list[tuple[list[int], list[int]]]:
    """(read, gold) of each stream, its segments joined, without padding."""
    found: list[tuple[list[int], list[int]]] = [([], []) for _ in range(streams.count)]
    for number in range(streams.segments(length)):
        read, gold = streams.segment(number, length, pad=PAD)
        assert read.shape == gold.shape and 1 <= gold.shape[1] <= length
        for row in range(streams.count):
            real = gold[row] != PAD
            assert not real[int(real.sum()) :].any()  # padding only behind
            found[row][0].extend(read[row][real].tolist())
            found[row][1].extend(gold[row][real].tolist())
    return found


@given(texts())
def test_every_token_is_to_be_predicted_once_and_from_the_one_before(
    case: tuple[np.ndarray, Streams, int],
) -> None:
    ids, streams, length = case
    found = gather(streams, length)
    in_order = [token for _, gold in found for token in gold]
    assert in_order == np.roll(ids, -streams.first).tolist()
    for read, gold in found:
        assert read == [(token - 1) % len(ids) for token in gold]
    lengths = [len(gold) for _, gold in found]
    assert max(lengths) - min(lengths) <= 1


@given(texts(), st.data())
def test_some_rows_are_those_of_all(case: tuple[np.ndarray, Streams, int], data: st.DataObject) -> None:
    _, streams, length = case
    number = data.draw(st.integers(0, streams.segments(length) - 1))
    first = data.draw(st.integers(0, streams.count - 1))
    rows = range(first, streams.count)
    _, some = streams.segment(number, length, rows=rows, pad=PAD)
    _, everything = streams.segment(number, length, pad=PAD)
    wanted = everything[first:]
    assert (some == wanted[:, : some.shape[1]]).all()
    assert (wanted[:, some.shape[1] :] == PAD).all()
