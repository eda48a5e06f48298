"""Lines that arrive: taken together when they come together, and never waited for."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.commands.arrival import arriving, cut


@given(
    lines=st.lists(st.text(max_size=2), max_size=30),
    most=st.integers(min_value=1, max_value=7),
    pauses=st.sets(st.integers(min_value=0, max_value=29), max_size=2),
)
def test_no_line_is_lost_or_moved_and_no_chunk_is_too_large(
    lines: list[str], most: int, pauses: set[int]
) -> None:
    def slow() -> Iterator[str]:
        for number, line in enumerate(lines):
            if number in pauses:
                time.sleep(0.03)
            yield line

    for chunks in (arriving(slow(), most=most), cut(lines, most=most)):
        found = list(chunks)
        assert list(itertools.chain(*found)) == lines
        assert all(1 <= len(chunk) <= most for chunk in found)
    assert all(len(chunk) == most for chunk in list(cut(lines, most=most))[:-1])


def test_a_line_is_handed_on_while_the_next_one_is_not_there() -> None:
    answered = threading.Event()

    def partner() -> Iterator[str]:
        yield "question"
        assert answered.wait(60), "it has waited for more"
        yield "another"

    chunks = arriving(partner(), most=500)
    assert next(chunks) == ["question"]
    answered.set()
    assert list(chunks) == [["another"]]


def test_a_full_pipe_gives_full_chunks() -> None:
    """The reader works ahead while a chunk is translated."""
    sizes = []
    for chunk in arriving(map(str, range(5_000)), most=500):
        time.sleep(0.05)
        sizes.append(len(chunk))
    assert sum(sizes) == 5_000 and sizes[1:-1] == [500] * len(sizes[1:-1])


def test_an_error_comes_after_the_lines_before_it() -> None:
    def failing() -> Iterator[str]:
        yield "one"
        raise KeyError("bad")

    chunks = arriving(failing(), most=500)
    assert next(chunks) == ["one"]
    with pytest.raises(KeyError, match="bad"):
        next(chunks)


def test_who_stops_early_leaves_no_thread_behind() -> None:
    ended = threading.Event()

    def endless() -> Iterator[str]:
        try:
            yield from itertools.repeat("line")
        finally:
            ended.set()

    chunks = arriving(endless(), most=5)
    assert next(chunks) == ["line"] * 5
    chunks.close()  # type: ignore[attr-defined]
    assert ended.wait(60)
