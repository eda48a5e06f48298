"""The gold alignments that are included, checked by a program, and the reading of others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from saccade.alignment.gold import GoldSet, included_gold, read_gold
from saccade.errors import InputError
from saccade.text.pharaoh import require_fit

FUNCTION = {
    *(
        "a",
        "an",
        "the",
        "is",
        "are",
        "of",
        "to",
        "her",
        "his",
        "its",
        "who",
        "be",
        "up",
        "at",
        "on",
        "same",
        "take",
    ),
    *("there", "each", "other", "with", "wearing", "identical", "having", "officer", "shake", "one", "down"),
}
"""English words that may have no sure link; all others must have one."""


@pytest.fixture
def gold() -> GoldSet:
    found = included_gold("en", "de")
    assert found is not None
    return found


def test_there_are_at_least_a_hundred_different_pairs_of_one_sentence(gold: GoldSet) -> None:
    assert len(gold.sources) == len(gold.targets) == len(gold.links) >= 100
    assert len(set(gold.sources)) == len(gold.sources)
    for line in (*gold.sources, *gold.targets):
        assert line.endswith(".") and line == " ".join(line.split())


def test_every_link_is_to_a_word_and_every_word_has_a_link(gold: GoldSet) -> None:
    for number, (source, target, links) in enumerate(
        zip(gold.sources, gold.targets, gold.links, strict=True)
    ):
        require_fit(links.possible, source, target, place=str(number))
        assert {i for i, _ in links.possible} == set(range(len(source.split()))), source
        assert {j for _, j in links.possible} == set(range(len(target.split()))), target


def test_every_content_word_has_a_sure_link(gold: GoldSet) -> None:
    for source, links in zip(gold.sources, gold.links, strict=True):
        sure = {i for i, _ in links.sure}
        without = {word.strip(".,").lower() for i, word in enumerate(source.split()) if i not in sure}
        assert without <= FUNCTION, (source, without - FUNCTION)


def test_most_links_are_sure_and_few_words_have_more_than_three(gold: GoldSet) -> None:
    sure, possible = (sum(len(links) for links in side) for side in zip(*gold.links, strict=True))
    assert sure / possible > 0.75
    counts = Counter((number, j) for number, links in enumerate(gold.links) for _, j in links.possible)
    assert sum(count > 3 for count in counts.values()) / len(counts) < 0.02


def test_the_other_direction_has_the_links_turned_round(gold: GoldSet) -> None:
    turned = included_gold("de-DE", "EN")
    assert turned is not None and turned.sources == gold.targets
    assert turned.swapped() == gold
    assert included_gold("en", "fr") is None and included_gold(None, None) is None


def written(folder: Path, *texts: str) -> tuple[Path, Path, Path]:
    paths = folder / "a", folder / "b", folder / "links"
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_a_gold_set_of_files_is_read(tmp_path: Path) -> None:
    found = read_gold(*written(tmp_path, "a b\nc\n", "x y\nz\n", "0-0 1p1\n\n"))
    assert found.links[0].sure == {(0, 0)} and found.links[0].possible == {(0, 0), (1, 1)}
    assert found.links[1].possible == frozenset()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("a\n", "b\n", "0-1\n"), r"links:1: the link 0-1 is to no word"),
        (("a\n", "b\n", "0:0\n"), r"links:1: '0:0' is no link"),
        (("a\n", "b\n", "0p0\n"), "no sure link"),
        (("a\nb\n", "b\nb\n", "0-0\n"), "Correct the files"),
    ],
)
def test_a_gold_set_that_does_not_fit_is_refused(
    tmp_path: Path, texts: tuple[str, str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_gold(*written(tmp_path, *texts))
