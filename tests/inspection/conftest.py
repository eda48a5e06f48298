"""A browser and pages of every family, for the tests marked `browser`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saccade.inspection.saving import save
from tests.inspection.browser import ARGUMENTS, browser_path, hostile, rounds_record, shown_first
from tests.inspection.records import LINE, at_once, reader, reading_records, record, translator


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-browser")
    path = browser_path()
    if path is None:
        pytest.skip("needs Chromium on the PATH, or its path in SACCADE_BROWSER")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two records of one model, and one page for other families."""
    folder = tmp_path_factory.mktemp("pages")
    first = shown_first()
    save([first, translator("transformer").inspect(LINE, "a cat eats", name="second")], folder / "two.html")
    save([first, replace(first, name="second"), replace(first, name="third")], folder / "three.html")
    for kind in ("recurrent, additive", "recurrent, none", "convolutional", "mask-predict", "ctc", "dag"):
        record(kind).save(folder / f"{kind}.html")
    at_once("fertility").inspect(LINE, "a cat eats", name="fertility").save(folder / "fertility.html")
    reader("transformer-xl", segment=6).inspect(LINE, name="text").save(folder / "text.html")
    reader("recurrent-lm, lstm").inspect(LINE, name="text").save(folder / "recurrent-lm.html")
    rounds_record().save(folder / "rounds.html")
    hostile(first).save(folder / "hostile.html")
    for name, one in reading_records(folder).items():
        one.save(folder / f"{name}.html")
    return folder
