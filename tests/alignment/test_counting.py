"""Alignments by eflomal, where it is installed, and what is made of pieces that it leaves out."""

from __future__ import annotations

import importlib.util
import random
import sys

import pytest

from saccade.alignment.counting import aligned_by_counting, both_ways, filled
from saccade.alignment.symmetrisation import COMBINATIONS
from saccade.alignment.words import align_words
from saccade.errors import UserError
from saccade.use.translator import Translator
from tests.tiny import END, model

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


def word_pairs() -> tuple[list[str], list[str]]:
    """Sentences of made-up words; the word xN is translated as yN, in the opposite order."""
    generator = random.Random(2)
    rows = [[generator.randrange(12) for _ in range(generator.randint(1, 5))] for _ in range(400)]
    return (
        [" ".join(f"x{word}" for word in row) for row in rows],
        [" ".join(f"y{word}" for word in reversed(row)) for row in rows],
    )


@needs_eflomal
def test_words_are_aligned_in_both_directions_with_at_most_one_link_each() -> None:
    sources, targets = word_pairs()
    ways = both_ways(sources, targets)
    right = total = 0
    for side, way in zip((1, 0), ways, strict=True):
        for source, links in zip(sources, way, strict=True):
            own = [link[side] for link in links]
            assert len(own) == len(set(own))
            last = len(source.split()) - 1
            right += sum(i + j == last for i, j in links)
            total += last + 1
    assert right / total > 0.8  # by chance: about 0.4


@needs_eflomal
@pytest.mark.parametrize("combine", COMBINATIONS)
def test_counts_alone_and_with_attention_give_links_within_the_sentences(combine: str) -> None:
    sources, targets = (side[:100] for side in word_pairs())
    translator = Translator.of(model())
    attended = translator.align(sources, targets)
    for method in ("eflomal", "both"):
        found = align_words(translator, sources, targets, method=method, combine=combine)
        for source, links, own in zip(sources, found, attended, strict=True):
            assert all(max(link) < len(source.split()) for link in links)
            assert method == "eflomal" or combine != "intersection" or set(links) <= set(own)


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
