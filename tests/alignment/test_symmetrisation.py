"""Two alignments made one: the laws of the combinations, and an example worked out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saccade.alignment.symmetrisation import grow_diag_final_and, intersection

LINKS = st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)
Links = frozenset[tuple[int, int]]


@given(LINKS, LINKS)
def test_growing_stays_between_intersection_and_union(one: Links, other: Links) -> None:
    found = grow_diag_final_and(one, other)
    assert intersection(one, other) == one & other <= found <= one | other


@given(LINKS)
def test_an_alignment_with_itself_is_itself(one: Links) -> None:
    assert grow_diag_final_and(one, one) == intersection(one, one) == one


@given(LINKS, LINKS)
def test_a_link_that_is_left_out_has_a_word_that_is_linked(one: Links, other: Links) -> None:
    found = grow_diag_final_and(one, other)
    sources, targets = {i for i, _ in found}, {j for _, j in found}
    assert all(i in sources or j in targets for i, j in (one | other) - found)


def test_an_example_grows_along_the_diagonal_and_ends_with_free_words() -> None:
    one = {(0, 0), (1, 1), (2, 1), (4, 4)}
    other = {(0, 0), (1, 1), (1, 2), (4, 0), (5, 5)}
    # Both have 0-0 and 1-1. Beside them 1-2 and 2-1 join, whose other word is new. At the end 4-4 joins and
    # then 5-5, because their words are free. 4-0 has no neighbour, and both of its words are linked by then.
    assert grow_diag_final_and(one, other) == {(0, 0), (1, 1), (1, 2), (2, 1), (4, 4), (5, 5)}
