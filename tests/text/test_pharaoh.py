"""Alignments as text: what is written is read again, and what is no link is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import InputError
from saccade.text.pharaoh import gold_of, links_line, links_of, require_fit, spread

LINKS = st.sets(st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)), max_size=8)


@given(LINKS)
def test_links_are_read_as_they_were_written(links: set[tuple[int, int]]) -> None:
    assert set(links_of(links_line(links), place="x")) == links


@given(LINKS, LINKS)
def test_possible_links_of_a_gold_line_include_the_sure_ones(
    sure: set[tuple[int, int]], possible: set[tuple[int, int]]
) -> None:
    line = " ".join([links_line(sure), *(f"{i}p{j}" for i, j in possible)])
    found = gold_of(line, place="x")
    assert found.sure == sure and found.possible == sure | possible


@pytest.mark.parametrize("word", ["1", "1-", "a-b", "1:2", "1--2", "65536-0", "999999-0", "١-١", "-1-0"])
def test_what_is_no_link_is_refused_with_its_place(word: str) -> None:
    with pytest.raises(InputError, match=r"links\.txt:7: .* is no link"):
        links_of(f"0-0 {word}", place="links.txt:7")


def test_a_link_to_a_word_that_is_not_there_is_refused() -> None:
    require_fit([(1, 0)], "a b", "c", place="x")
    for link in ((2, 0), (0, 1)):
        with pytest.raises(InputError, match="2 source and 1 target words"):
            require_fit([link], "a b", "c", place="x")


def test_a_link_of_words_becomes_all_links_of_their_pieces() -> None:
    assert spread([(0, 1), (1, 0)], [0, 0, 1, -1], [0, 1, 1, -1]) == [
        *((0, 1), (0, 2), (1, 1), (1, 2)),
        (2, 0),
    ]
    assert spread([(0, 0)], [-1], [0]) == []
