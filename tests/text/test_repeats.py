"""Repeated lines: against plain counting, with sampling within its error, and in bounded memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.text.corpus import Line
from saccade.text.folding import Folding
from saccade.text.repeats import LineRepeatFinder, Occurrences, RepeatFinder, hashes

FILES = {"source": Path("s"), "target": Path("t")}


def lines(*pairs: tuple[str, str]) -> list[Line]:
    return [Line({"source": a, "target": b}, FILES, n) for n, (a, b) in enumerate(pairs, start=1)]


def look(finder: RepeatFinder, pairs: list[Line]) -> None:
    fold = Folding()
    finder.look_at(pairs, [(fold(one.texts["source"]), fold(one.texts["target"])) for one in pairs])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=80), st.integers(1, 30))
def test_repeats_are_those_of_plain_counting(found: list[tuple[str, int]], size: int) -> None:
    finder = RepeatFinder()
    for start in range(0, len(found), size):
        look(finder, lines(*((a, f"x{b}") for a, b in found[start : start + size])))
    report = finder.report()
    targets = defaultdict(set)
    for a, b in found:
        targets[a].add(b)
    assert report.repeated == sum(count - 1 for count in Counter(found).values())
    assert report.ambiguous == sum(len(targets[a]) > 10 for a, _ in found)
    assert report.exact and report.same == 0


def test_case_punctuation_and_blanks_make_no_difference() -> None:
    finder = RepeatFinder()
    look(
        finder, lines(("A dog runs.", "Ein Hund rennt."), ("a dog  runs", "ein Hund rennt!"), ("A dog", "x"))
    )
    assert finder.report().repeated == 1
    assert Folding()("Ça va, naïve — ÜBER 3,5 € ! हिन्दी") == "çavanaïveüber35€हिन्दी"


def test_pairs_with_the_same_text_are_counted_unless_they_are_numbers() -> None:
    finder = RepeatFinder()
    look(finder, lines(("Not translated.", "not translated"), ("1, 2.", "1. 2"), ("?", "!"), ("a", "b")))
    found = finder.report()
    assert (found.same, found.same_places) == (1, ["s:1"])


def test_a_long_text_is_sampled_and_the_estimates_are_near() -> None:
    seen, generator = Occurrences(rows=2_000), np.random.default_rng(1)
    keys = generator.integers(0, 40_000, 100_000)
    for part in np.array_split(keys, 50):
        values = hashes([str(one) for one in part])
        seen.add(values, values)
    found = seen.counted(many=10)
    assert not found.exact and found.ambiguous == 0
    assert found.repeated == pytest.approx(len(keys) - len(set(keys.tolist())), rel=0.15)
    assert len(seen._keys) <= 1_000


def test_one_line_repeated_for_ever_takes_one_row() -> None:
    seen = Occurrences(rows=100)
    for _ in range(50):
        values = hashes(["the same"] * 30)
        seen.add(values, values)
    assert seen.counted(many=1) == (1_499, 0, True)


def test_long_lines_of_running_text_that_occur_again_or_in_the_validation_text_are_counted() -> None:
    long = [f"This is the sentence number {n} of the text." for n in range(10)]
    finder = LineRepeatFinder()
    finder.look_at_valid([*long[:3], "Heading", "A sentence of the validation text alone."])
    finder.look_at_valid([long[0]])
    finder.look_at([*long, "Heading", "Heading"])
    finder.look_at([long[1].upper(), ""])
    found = finder.report()
    assert (found.lines, found.repeated, found.exact) == (11, 1, True)
    assert (found.valid_lines, found.valid_found) == (5, 4)
    assert LineRepeatFinder().report().valid_found == 0
