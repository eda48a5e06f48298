"""Languages of a text: their codes, the sample, and what py3langid finds where it is installed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from saccade.text import language_id
from saccade.text.corpus import Line
from saccade.text.language_id import LanguageSample, alike, share_in

FILES = {"source": Path("s"), "target": Path("t")}
ENGLISH = "The weather was cold, and nobody wanted to leave the house before noon."
GERMAN = "Das Wetter war kalt, und niemand wollte vor Mittag aus dem Haus gehen."


@pytest.mark.parametrize("code", ["de", "de-AT", "deu_Latn", "DE"])
def test_codes_of_every_form_name_the_same_language(code: str) -> None:
    assert alike(code) == {"de"}
    assert share_in(code, {"de": 3, "en": 1}) == 0.75


def test_languages_that_are_taken_for_one_another_are_not_held_apart() -> None:
    assert {"hr", "sr", "bs"} <= alike("hrv_Latn")
    assert share_in("tlh", {"en": 4}) is None and share_in("de", {}) is None


def test_without_the_package_nothing_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_id, "available", lambda: False)
    sample = LanguageSample(["source"])
    sample.look_at([Line({"source": ENGLISH, "target": GERMAN}, FILES, 1)])
    assert sample.report() == {}


def test_the_sample_is_bounded_and_spread_over_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_id, "available", lambda: True)
    sample = LanguageSample(["target"])
    for start in range(0, 50_000, 1_000):
        part = [Line({"source": "", "target": str(n)}, FILES, n) for n in range(start, start + 1_000)]
        sample.look_at(part)
    numbers = [int(line) for line in sample._lines["target"]]
    assert 500 <= len(numbers) <= 1_000
    assert {b - a for a, b in pairwise(numbers)} == {64}


def test_the_package_knows_the_language_of_a_text() -> None:
    pytest.importorskip("py3langid")
    sample = LanguageSample(["source", "target"])
    sample.look_at([Line({"source": ENGLISH, "target": GERMAN}, FILES, n) for n in range(40)])
    found = sample.report()
    assert share_in("en", found["source"]) == share_in("deu_Latn", found["target"]) == 1.0
