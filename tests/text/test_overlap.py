"""Near-copies of validation and test pairs: against a comparison of every pair with every other."""

from __future__ import annotations

import random
from itertools import takewhile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from saccade.text.corpus import Line
from saccade.text.folding import Folding
from saccade.text.overlap import DuplicateFinder, NearIndex

FILES = {"source": Path("s"), "target": Path("t")}
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world")


def pairs(*texts: tuple[str, str]) -> list[Line]:
    return [Line({"source": a, "target": b}, FILES, n) for n, (a, b) in enumerate(texts, start=1)]


def found(small: list[Line], large: list[Line]) -> tuple[int, int, int]:
    fold = Folding()
    finder = DuplicateFinder({"test": small}, fold)
    finder.look_at(large, [(fold(one.texts["source"]), fold(one.texts["target"])) for one in large])
    report = finder.report()["test"]
    return report.pairs, report.folded, report.near


def sentence(n: int) -> tuple[str, str]:
    words = random.Random(n).choices(WORDS, k=12)
    return f"S{n} {' '.join(words)}.", f"T{n} {' '.join(word[::-1] for word in words)}."


def test_pairs_are_found_word_for_word_without_case_and_punctuation_and_with_one_word_changed() -> None:
    small = pairs(*(sentence(n) for n in range(8)))
    exact, upper = sentence(0), tuple(side.upper().replace(" ", "  ") for side in sentence(1))
    source, target = sentence(2)
    changed = source.replace(source.split()[5], "tree", 1), target
    longer = sentence(3)[0] + " yes", sentence(3)[1] + " sey"
    other = sentence(4)[0], sentence(5)[1]  # another translation is no copy
    large = pairs(
        *(sentence(n) for n in range(100, 160)), exact, (upper[0], upper[1]), changed, longer, other
    )
    assert found(small, large) == (1, 1, 2)
    assert found(small, pairs(*(sentence(n) for n in range(100, 160)))) == (0, 0, 0)


def test_the_share_of_training_pairs_that_are_near_to_one_another_is_reported() -> None:
    fold, large = (
        Folding(),
        pairs(*((f"one line of a form: {n}", f"eine Zeile der Form: {n}") for n in range(90))),
    )
    finder = DuplicateFinder({"test": pairs(("one line of a form: x", "eine Zeile der Form: x"))}, fold)
    finder.look_at(large, [(fold(one.texts["source"]), fold(one.texts["target"])) for one in large])
    assert finder.report()["test"].usual == 0.0  # shorter than what can be told apart
    large = pairs(*((f"one line of the very same form: {n}", f"eine Zeile der Form: {n}") for n in range(90)))
    finder = DuplicateFinder({"test": pairs(("one", "eins"))}, fold)
    finder.look_at(large, [(fold(one.texts["source"]), fold(one.texts["target"])) for one in large])
    assert finder.report()["test"].usual > 0.9


def agreeing(one: str, other: str) -> int:
    """The number of characters that two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@given(
    st.text("ab ", min_size=24, max_size=60), st.integers(0, 60), st.integers(0, 7), st.text("xy", max_size=7)
)
def test_a_sentence_with_one_place_changed_is_found_if_at_most_an_eighth_is_different(
    text: str, place: int, cut: int, put: str
) -> None:
    place = min(place, len(text))
    other = text[:place] + put + text[place + cut :]
    index = NearIndex({(text, "t")})
    matches = set(index.matches((other, "t")))
    longer = max(len(text), len(other))
    if max(len(put), min(cut, len(text) - place)) <= longer // 8:
        assert matches == {(text, "t")}
    for match, _ in matches:
        shorter = min(len(match), len(other))
        same = min(agreeing(match, other) + agreeing(match[::-1], other[::-1]), shorter)
        assert same >= longer - 2 * (longer // 8)
