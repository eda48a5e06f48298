"""The pages to play with: they compute what the library computes, and work in a real browser."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.lab.experiments.lookup import weight_of_match
from saccade.lab.interactive import COMPUTE, interactive_page, script
from saccade.lab.pages import PLAYED
from saccade.lab.results import read_result
from saccade.nn.attention import attend, attention_weights
from saccade.nn.positions import sinusoids
from tests.inspection.browser import ARGUMENTS, CONTRAST, browser_path, opened

COMMITTED = Path(__file__).parents[2] / "docs" / "lab"
PAGES = ("calculator", "positions", "ladder", "race")


def html(name: str) -> str:
    if name not in PLAYED:
        return interactive_page(name)
    result = read_result(COMMITTED, name)
    assert result is not None
    return interactive_page(name, PLAYED[name](result))


# --- the same figures as the library ---------------------------------------------------------------


def examples() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    sizes = ((1, 4, 4, 1), (3, 3, 2, 2), (2, 5, 8, 3))
    tables = [
        [torch.randn(rows, width, generator=generator, dtype=torch.float64).tolist() for rows, width in shape]
        for q, k, d, v in sizes
        for shape in [((q, d), (k, d), (k, v))]
    ]
    return {"tables": tables, "places": [0, 1, 7, 300], "width": 12, "shift": 37}


RUN = """
const given = %s;
const found = { attention: [], rows: [], turned: [] };
for (const [query, key, value] of given.tables) {
  for (const scaled of [true, false]) for (const causal of [true, false]) {
    const { weights, output } = attention(query, key, value, { scaled, causal });
    found.attention.push({ weights, output });
  }
}
for (const place of given.places) {
  found.rows.push(sinusoid(place, given.width));
  found.turned.push(turned(sinusoid(place, given.width), given.shift));
}
"""


def check(found: Any, given: Any) -> None:
    """Compares what JavaScript computed with the library, in float64."""
    places = iter(found["attention"])
    for tables in given["tables"]:
        query, key, value = (torch.tensor(table, dtype=torch.float64)[None, None] for table in tables)
        for scaled in (True, False):
            for causal in (True, False):
                own = query if scaled else query * math.sqrt(query.size(-1))
                one = next(places)
                weights = attention_weights(own, key, causal=causal)[0, 0]
                output = attend(own, key, value, causal=causal)[0, 0] if not causal else weights @ value[0, 0]
                torch.testing.assert_close(torch.tensor(one["weights"], dtype=torch.float64), weights)
                torch.testing.assert_close(torch.tensor(one["output"], dtype=torch.float64), output)
    table = sinusoids(400, given["width"])
    for place, row, moved in zip(given["places"], found["rows"], found["turned"], strict=True):
        torch.testing.assert_close(torch.tensor(row, dtype=torch.float32), table[place], atol=1e-6, rtol=0)
        torch.testing.assert_close(
            torch.tensor(moved, dtype=torch.float32), table[place + given["shift"]], atol=1e-6, rtol=0
        )


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node; the browser test compares the same")
def test_the_pages_compute_what_the_library_computes() -> None:
    given = examples()
    code = script(COMPUTE) + RUN % json.dumps(given) + "process.stdout.write(JSON.stringify(found));"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True, timeout=60)
    check(json.loads(done.stdout), given)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_that_asks_for_nothing(name: str) -> None:
    text = html(name)
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert "{{" not in text


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_one_that_is_made(name: str) -> None:
    assert (COMMITTED / f"{name}.html").read_text(encoding="utf-8") == html(name)


# --- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-browser")
    path = browser_path()
    if path is None:
        pytest.skip("needs Chromium on the PATH, or its path in SACCADE_BROWSER")
    with playwright.sync_playwright() as running:
        opened_browser = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened_browser
        opened_browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name in PAGES:
        (folder / f"{name}.html").write_text(html(name), encoding="utf-8")
    return folder


@pytest.mark.browser
def test_in_a_browser_the_figures_are_the_librarys(browser: Any, tmp_path: Path) -> None:
    given = examples()
    file = tmp_path / "compute.html"
    code = script(COMPUTE) + RUN % json.dumps(given)
    file.write_text(f"<!DOCTYPE html><script>{code} window.found = found;</script>", encoding="utf-8")
    with opened(browser, file) as page:
        check(page.evaluate("window.found"), given)


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_in_both_languages_without_an_error(
    browser: Any, folder: Path, name: str, scheme: str
) -> None:
    for width in (1200, 400):
        viewport = {"width": width, "height": 800}
        with opened(browser, folder / f"{name}.html", viewport=viewport, color_scheme=scheme) as page:
            english = page.title()
            page.keyboard.press("g")
            assert page.evaluate("document.documentElement.lang") == "zh-Hans"
            assert page.title() != english
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            assert page.evaluate(CONTRAST) >= 4.5
            page.keyboard.press("?")
            assert page.locator("dialog[open]").count() == 1
            page.keyboard.press("Escape")
            page.keyboard.press("d")
            assert page.evaluate("document.documentElement.dataset.theme") != scheme


@pytest.mark.browser
def test_a_number_that_is_changed_changes_the_weights(browser: Any, folder: Path) -> None:
    with opened(browser, folder / "calculator.html") as page:

        def weight() -> float:
            return float(page.locator("[data-cell='weights 0 1']").inner_text())

        assert weight() == pytest.approx(weight_of_match(1.0, 4), abs=5e-4)
        page.locator("[data-key='query 0 1']").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type("4")
        assert weight() == pytest.approx(weight_of_match(4.0, 4), abs=5e-4)
        assert page.evaluate("document.activeElement.dataset.key") == "query 0 1"
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")  # an empty field changes nothing
        assert weight() == pytest.approx(weight_of_match(4.0, 4), abs=5e-4)
        page.locator("[data-key=scaled]").press("Enter")
        assert weight() == pytest.approx(weight_of_match(2.0, 4), abs=5e-4)


@pytest.mark.browser
def test_sliders_and_keys_move_what_is_shown(browser: Any, folder: Path) -> None:
    with opened(browser, folder / "positions.html") as page:
        before = page.locator("#facts").inner_text()
        page.locator("[data-key=shift]").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#facts").inner_text() != before
        assert page.evaluate("document.activeElement.dataset.key") == "shift"
    with opened(browser, folder / "ladder.html") as page:
        rows = page.locator("#rungs tr")
        assert rows.count() == 8
        before = rows.nth(7).inner_text()
        page.keyboard.press("n")
        assert rows.nth(7).inner_text() != before
        page.keyboard.press("b")
        assert rows.nth(7).inner_text() == before
    with opened(browser, folder / "race.html") as page:
        racers = page.locator("[data-racer]")
        assert racers.count() == 4
        start = racers.nth(1).inner_text()
        page.keyboard.press("ArrowRight")
        assert racers.nth(1).inner_text() != start
        page.keyboard.press("ArrowLeft")
        assert racers.nth(1).inner_text() == start
        for _ in range(60):
            page.keyboard.press("ArrowRight")
        assert page.locator("[data-racer]", has_text="✓").count() == 4
