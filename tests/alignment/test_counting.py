"""Alignments by eflomal, where it is installed, and what is made of pieces that it leaves out."""

from __future__ import annotations

import importlib.util
import random
import sys

import pytest

from saccade.alignment.counting import aligned_by_counting, filled
from saccade.errors import UserError
from tests.tiny import END

needs_eflomal = pytest.mark.skipif(importlib.util.find_spec("eflomal") is None, reason="needs saccade[align]")


@needs_eflomal
def test_words_that_occur_together_are_found() -> None:
    """Words below 7 have two target words, the others one."""
    generator = random.Random(1)
    sources = [[generator.randrange(4, 13) for _ in range(generator.randint(1, 5))] for _ in range(400)]
    expected = [[place for place, word in enumerate(row) for _ in range(1 + (word < 7))] for row in sources]
    targets = [[100 + row[place] for place in places] for row, places in zip(sources, expected, strict=True)]
    found = aligned_by_counting([[*row, END] for row in sources], [[*row, END] for row in targets])
    right = sum(
        a == b for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert right / sum(map(len, expected)) > 0.8  # by chance: 0.4


@needs_eflomal
def test_empty_sentences_stay_empty() -> None:
    assert aligned_by_counting([[END], [5, END], [5, END]], [[6, END], [END], [6, 6, END]]) == [
        [],
        [],
        [0, 0],
    ]
    assert aligned_by_counting([[END]], [[END]]) == [[]]


@pytest.mark.parametrize(
    ("known", "expected"),
    [({0: 2, 2: 1}, [2, 2, 1]), ({1: 3}, [3, 3, 3]), ({}, [0, 0, 0]), ({0: 0, 1: 1, 2: 2}, [0, 1, 2])],
)
def test_a_piece_without_a_source_goes_where_its_neighbour_goes(
    known: dict[int, int], expected: list[int]
) -> None:
    assert filled(known, 3) == expected


def test_without_eflomal_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(UserError, match=r"pip install .*\[align\]'"):
        aligned_by_counting([[5, END]], [[6, END]])
