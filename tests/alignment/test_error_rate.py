"""The alignment error rate against its definition, worked out by hand and in a loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.alignment.error_rate import alignment_scores
from saccade.text.pharaoh import Gold, gold_of

LINKS = st.frozensets(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6)


def test_the_scores_of_an_example_worked_out_by_hand() -> None:
    gold = [gold_of("0-0 1-1 2p1", place="x"), gold_of("0-1", place="x")]
    # A: 4 links, 2 of them sure (of 3), 3 of them possible.
    found = alignment_scores([{(0, 0), (2, 1), (3, 3)}, {(0, 1)}], gold)
    assert found.precision == pytest.approx(3 / 4)
    assert found.recall == pytest.approx(2 / 3)
    assert found.aer == pytest.approx(1 - (2 + 3) / (4 + 3))
    assert found.line() == "AER 28.6%  precision 75.0%  recall 66.7%"


@given(st.lists(st.tuples(LINKS, LINKS, LINKS), min_size=1, max_size=4))
def test_the_scores_are_counted_over_all_pairs(pairs: list[tuple[frozenset, ...]]) -> None:
    gold = [Gold(sure, sure | possible) for _, sure, possible in pairs]
    found = alignment_scores([own for own, _, _ in pairs], gold)
    counts = {"links": 0, "sure": 0, "right": 0, "required": 0}
    for own, known in zip((one for one, _, _ in pairs), gold, strict=True):
        for link in own:
            counts["links"] += 1
            counts["right"] += link in known.possible
            counts["required"] += link in known.sure
        counts["sure"] += len(known.sure)
    if counts["links"] and counts["sure"]:
        assert found.precision == pytest.approx(counts["right"] / counts["links"])
        assert found.recall == pytest.approx(counts["required"] / counts["sure"])
        both = counts["right"] + counts["required"]
        assert found.aer == pytest.approx(1 - both / (counts["links"] + counts["sure"]))
    assert 0 <= found.aer <= 1


@given(LINKS, LINKS)
def test_between_the_sure_and_the_possible_links_no_error_is_counted(
    sure: frozenset[tuple[int, int]], possible: frozenset[tuple[int, int]]
) -> None:
    gold = [Gold(sure, sure | possible)]
    assert alignment_scores([sure], gold).aer == pytest.approx(0.0)
    assert alignment_scores([sure | possible], gold).aer == pytest.approx(0.0)


def test_without_any_link_nothing_is_wrong_and_nothing_is_found() -> None:
    found = alignment_scores([frozenset()], [Gold(frozenset(), frozenset())])
    assert (found.aer, found.precision, found.recall) == (0.0, 0.0, 0.0)
