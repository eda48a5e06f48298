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

from saccade.decoding.nonautoregressive.ctc import collapse
from saccade.lab.experiment import mean
from saccade.lab.experiments.lookup import weight_of_match
from saccade.lab.interactive import COMPUTE, RUNGS, interactive_page, script
from saccade.lab.numerals import english, german
from saccade.lab.pages import PLAYED
from saccade.lab.results import Result, read_result
from saccade.nn.attention import attend, attention_weights
from saccade.nn.positions import sinusoids
from tests.inspection.browser import ARGUMENTS, CONTRAST, browser_path, opened

COMMITTED = Path(__file__).parents[2] / "docs" / "lab"
PAGES = ("calculator", "positions", "ladder", "race")


def measured(name: str) -> Result:
    result = read_result(COMMITTED, name)
    assert result is not None
    return result


def html(name: str) -> str:
    data = PLAYED[name](measured(name)) if name in PLAYED else None
    return interactive_page(name, data)


def in_node(code: str) -> str:
    """What a script writes."""
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


# --- the same figures as the library ---------------------------------------------------------------


def examples() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    sizes = ((1, 4, 4, 1), (3, 3, 2, 2), (2, 5, 8, 3))
    tables = [
        [torch.randn(rows, width, generator=generator, dtype=torch.float64).tolist() for rows, width in shape]
        for q, k, d, v in sizes
        for shape in [((q, d), (k, d), (k, v))]
    ]
    paths = [[], [0], [1], [1, 1], [1, 0, 1], [0, 2, 2, 0, 0, 2, 3, 3, 3, 1, 0]]
    return {"tables": tables, "places": [0, 1, 7, 300], "width": 12, "shift": 37, "paths": paths}


RUN = """
const given = %s;
const found = { attention: [], rows: [], turned: [], paths: given.paths.map((path) => collapsed(path, 0)) };
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
    assert found["paths"] == [collapse(path, blank=0) for path in given["paths"]]
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
    check(json.loads(in_node(code)), given)


LIVE = """
const given = %s;
const rungs = given.rungs.map((rung) => rungOf(rung, given.special));
const ids = given.english.map((words) => [...words.map((word) => given.first + given.words.en.indexOf(word)), given.special.end]);
const found = {
  written: rungs.map((rung) => ids.map((source) => rung.write(source).map((id) => given.words.de[id - given.first]))),
  words: given.some.map((number) => [english(number, given.words.en), german(number, given.words.de)]),
};
"""  # noqa: E501


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node; the browser test compares the same")
def test_the_rungs_in_the_page_write_what_the_library_wrote() -> None:
    result, some = measured("ladder"), list(range(100, 10_000, 61))
    english_words = [source.split() for source in result.figures["sources"]]
    given = {**PLAYED["ladder"](result), "english": english_words, "some": some}
    code = script(COMPUTE) + script(RUNGS) + LIVE % json.dumps(given)
    found = json.loads(in_node(code + "process.stdout.write(JSON.stringify(found));"))
    said = [[" ".join(filter(None, words)) for words in rung] for rung in found["written"]]
    assert said == result.figures["written"]
    assert found["words"] == [[list(english(number)), list(german(number))] for number in some]


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
def test_the_ladder_and_the_race_show_the_figures_of_the_results(browser: Any, folder: Path) -> None:
    ladder, race = measured("ladder").figures, PLAYED["race"](measured("race"))
    with opened(browser, folder / "ladder.html") as page:
        for place in range(len(ladder["sources"])):
            rows = page.locator("#rungs tr")
            for rung, outputs in enumerate(ladder["written"]):
                cells = rows.nth(rung + 1).locator("td")
                assert cells.nth(2).inner_text().split() == (outputs[place].split() or ["(nothing)"])
                assert cells.nth(3).inner_text() == f"{mean(ladder['bleu'][rung]):.1f}"
            assert page.locator("#source").inner_text() == ladder["sources"][place]
            assert rows.last.inner_text().split()[1:] == ladder["references"][place].split()
            page.keyboard.press("n")
    with opened(browser, folder / "race.html") as page:
        for place in range(len(race["sources"])):
            for _ in range(max(len(steps[place]) for steps in race["steps"].values())):
                page.keyboard.press("ArrowRight")
            for racer, steps in race["steps"].items():
                cells = page.locator(f"[data-racer='{racer}'] td")
                written = cells.nth(2).locator("[data-collapsed]") if racer == "ctc" else cells.nth(2)
                path = steps[place][-1].split()
                right = collapse(path, blank="·") if racer == "ctc" else path  # type: ignore[arg-type]
                assert written.inner_text().split() == right
                assert cells.nth(3).inner_text() == f"{race['milliseconds'][racer]:.1f}"
                assert cells.nth(4).inner_text() == f"{race['bleu'][racer]:.1f}"
            page.keyboard.press("n")


LINES_OF_WORDS = """() => [...document.querySelectorAll('td.wraps span')]
  .filter((one) => !one.children.length).map((one) => one.getClientRects().length)"""


@pytest.mark.browser
def test_on_a_narrow_screen_no_word_is_broken(browser: Any, folder: Path) -> None:
    for name in ("ladder", "race"):
        with opened(browser, folder / f"{name}.html", viewport={"width": 360, "height": 700}) as page:
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            lines = page.evaluate(LINES_OF_WORDS)
            assert max(lines) == 1
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


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
        field = page.locator("[data-key=number]")
        field.fill("9999")
        assert rows.nth(7).inner_text().split()[1:] == list(german(9999))
        field.fill("5")  # not a number that the models know: changes nothing
        assert rows.nth(7).inner_text().split()[1:] == list(german(9999))
        assert page.evaluate("document.activeElement.dataset.key") == "number"
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
