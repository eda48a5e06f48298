"""The page in a real browser. `make test-browser` runs these; without a browser they are skipped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from saccade.inspection.document import unpacked
from tests.inspection.browser import CONTRAST, HOSTILE, opened, rounds_record, shown_first
from tests.inspection.records import record

pytestmark = pytest.mark.browser

VIEWS = ("lines", "matrix", "overview", "decoding", "attribution", "alignment", "comparison")


def focused(page: Any) -> str | None:
    key: str | None = page.evaluate("document.activeElement.dataset.key || null")
    return key


def test_every_view_of_every_family_opens_without_an_error(browser: Any, files: Path) -> None:
    for file in sorted(files.glob("*.html")):
        with opened(browser, file) as page:
            for number in range(1, len(VIEWS) + 1):
                page.keyboard.press(str(number))
                assert page.locator("#view > *").count() == 1, file
                assert page.locator("#tabs [aria-selected=true]").count() == 1


def test_the_picture_shows_where_a_token_and_a_position_attend(browser: Any, files: Path) -> None:
    [stored] = json.loads(browser_json(files / "recogniser.html"))["records"]
    with opened(browser, files / "recogniser.html") as page:
        assert page.locator("[data-key='tab picture']").get_attribute("aria-selected") == "true"
        tokens = page.locator("#view .tokens button")
        assert tokens.all_inner_texts() == stored["tokens"]["target"]["pieces"]
        cross = next(one for one in stored["maps"] if one["kind"] == "cross")
        page.select_option("[data-key=head]", label="head 2")
        page.select_option("[data-key=layer]", label="1")
        last = tokens.count() - 1
        tokens.nth(last).click()
        page.focus("[data-key=picture]")
        page.keyboard.press("ArrowRight")
        weights = unpacked(cross["weights"], cross["shape"])
        assert float(page.inner_text("#readout").rsplit(" ", 1)[1]) == pytest.approx(
            weights[1, last, 1], abs=2e-5
        )
        page.select_option("[data-key=kind]", label="encoder (source to source)")
        page.focus("[data-key=picture]")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.inner_text("#readout").startswith("“3” attends to")
    with opened(browser, files / "tagger.html") as page:
        assert page.locator("[data-key='tab picture']").count() == 0


def test_a_label_is_attributed_beside_the_attention_of_its_word(browser: Any, files: Path) -> None:
    [stored] = json.loads(browser_json(files / "bert-tagger.html"))["records"]
    row = next(one for one in stored["attributions"] if one["method"] == "erasure")["values"][1]
    with opened(browser, files / "bert-tagger.html") as page:
        page.keyboard.press("5")
        page.click("[data-key='output 1']")
        names = page.locator(".bars .name").all_inner_texts()
        assert names == stored["tokens"]["source"]["pieces"]
        shown = page.locator(".bars .bar b").all_inner_texts()[2::3]
        assert [one == "–" for one in shown] == [value is None for value in row]


def test_layer_head_and_kind_are_chosen_and_the_matrix_follows(browser: Any, files: Path) -> None:
    stored = json.loads(browser_json(files / "two.html"))
    with opened(browser, files / "two.html") as page:
        page.click("text=Matrix")
        shown = set()
        for layer in ("1", "2"):
            page.select_option("[data-key=layer]", label=layer)
            for head in ("head 1", "head 3", "mean of the layer", "mean of all layers"):
                page.select_option("[data-key=head]", label=head)
                page.focus("[data-key=matrix]")
                shown.add(page.inner_text("#readout"))
                if head == "mean of all layers":
                    page.select_option("[data-key=head]", label="head 1")
        assert len(shown) == 7  # the mean of all layers is the same twice
        page.select_option("[data-key=kind]", label="encoder (source to source)")
        page.focus("[data-key=matrix]")
        piece = stored["records"][0]["tokens"]["source"]["pieces"][0]
        assert page.inner_text("#readout").startswith(f"“{piece}” attends to “{piece}”")


def browser_json(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return text.split('id="data">', 1)[1].split("</script>", 1)[0]


def test_the_cell_under_the_pointer_is_read_out_exactly(browser: Any, files: Path) -> None:
    own = shown_first()
    cross = next(one for one in own.maps if one.kind == "cross" and one.layer == 1)
    with opened(browser, files / "two.html") as page:
        page.keyboard.press("2")
        page.select_option("[data-key=layer]", label="1")
        page.select_option("[data-key=head]", label="head 2")
        page.focus("[data-key=matrix]")
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        row, column = 1, 2
        text = page.inner_text("#readout")
        assert float(text.rsplit(" ", 1)[1]) == pytest.approx(float(cross.weights[1, row, column]), abs=2e-5)
        box = page.locator(".matrix").bounding_box()
        page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
        corner = page.inner_text("#readout")
        assert float(corner.rsplit(" ", 1)[1]) == pytest.approx(float(cross.weights[1, -1, -1]), abs=2e-5)
        assert own.tokens["source"].pieces[-1] in corner


def test_words_join_pieces_and_rows_still_sum_to_one(browser: Any, files: Path) -> None:
    own = shown_first()
    with opened(browser, files / "two.html") as page:
        assert page.locator(".keys .token").count() == len(own.tokens["source"].pieces)
        page.check("[data-key=join]")
        assert page.locator(".keys .token").count() == len(own.tokens["source"].words)
        page.locator(".queries .token").first.hover()
        shares = page.locator(".keys .share").all_inner_texts()
        assert sum(float(share) for share in shares if share) == pytest.approx(1.0, abs=0.06)


def test_the_overview_opens_a_head(browser: Any, files: Path) -> None:
    with opened(browser, files / "two.html") as page:
        page.keyboard.press("3")
        assert page.locator(".head").count() == 6
        page.click('[data-key="head 1 3"]')
        assert page.locator("[aria-selected=true]").inner_text() == "Matrix"
        assert page.locator("[data-key=layer]").input_value() == "1"
        assert page.locator("[data-key=head]").input_value() == "head 3"


def test_decoding_is_stepped_played_and_jumped_through(browser: Any, files: Path) -> None:
    own = shown_first()
    assert own.search is not None
    steps = own.search.trace.steps
    with opened(browser, files / "two.html") as page:
        page.keyboard.press("4")
        for number in range(min(3, len(steps))):
            candidates = page.locator("#candidates tr").all_inner_texts()[1:]
            assert len(candidates) == len(steps[number])
            assert f"{steps[number][0].total:.3f}" in candidates[0]
            page.click("[data-key=next]")
        page.click("[data-key=last]")
        assert page.inner_text("#step") == f"Step {len(steps)} of {len(steps)}"
        page.click("[data-key=first]")
        page.locator(".tree .node").last.click()
        assert page.inner_text("#step") == f"Step {len(steps)} of {len(steps)}"
        page.click("[data-key=first]")
        page.keyboard.press("p")
        page.wait_for_function("document.getElementById('step').textContent.startsWith('Step 2 ')")
        page.keyboard.press("p")
        assert page.locator("[data-key=play]").get_attribute("aria-label") in ("Play", "Pause")


def test_an_output_token_shows_its_attributions(browser: Any, files: Path) -> None:
    own = shown_first()
    with opened(browser, files / "two.html") as page:
        page.keyboard.press("5")
        page.click('[data-key="output 1"]')
        bars = page.locator(".bar b").all_inner_texts()
        count = len(own.tokens["source"].pieces)
        assert len(bars) == 3 * count
        for column, one in enumerate(own.attributions, start=1):
            shown = [float(text.replace("−", "-")) for text in bars[column::3]]
            assert shown == pytest.approx([float(value) for value in one.values[1]], abs=6e-4)
        assert page.locator(".correlations button").count() == 2 * 2 * 3


def test_two_records_are_compared_and_differences_coloured(browser: Any, files: Path) -> None:
    with opened(browser, files / "two.html") as page:
        page.keyboard.press("7")
        assert page.locator(".pair .matrix").count() >= 2
        page.select_option("[data-key=other]", label="first")
        assert page.locator(".pair .matrix").count() == 3
        assert "mean absolute difference 0.0000" in page.inner_text("#view")
        assert page.locator(".differs").count() == 0


def test_the_checkpoints_of_a_run_stand_in_a_row(browser: Any, files: Path) -> None:
    with opened(browser, files / "three.html") as page:
        page.keyboard.press("7")
        assert page.locator(".strip .head").count() == 3
        page.click('[data-key="strip 2"]')
        assert page.locator("[data-key=other]").input_value() == "third"


def test_the_keyboard_alone_reaches_everything(browser: Any, files: Path) -> None:
    with opened(browser, files / "two.html") as page:
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(focused(page))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or page.evaluate("document.activeElement === document.body")
        assert {"language", "theme", "help", "tab lines", "kind", "layer", "head", "join"} <= reached
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        page.focus('[data-key="tab lines"]')
        page.keyboard.press("ArrowRight")
        assert focused(page) == "tab matrix" and page.locator("[data-key=matrix]").count() == 1
        before = page.locator("[data-key=layer]").input_value()
        page.keyboard.press("l")
        assert page.locator("[data-key=layer]").input_value() != before
        page.keyboard.press("h")
        assert page.locator("[data-key=head]").input_value() == "head 1"
        page.keyboard.press("1")
        page.locator(".queries .token").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.closest('.keys') !== null")


def test_the_page_speaks_chinese_and_english(browser: Any, files: Path) -> None:
    with opened(browser, files / "two.html", locale="zh-CN") as page:
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        assert page.inner_text("#tabs").split() == ["连线", "矩阵", "全部头", "解码", "归因", "对齐", "比较"]
        page.keyboard.press("g")
        assert page.locator("html").get_attribute("lang") == "en"
        assert "Decoding" in page.inner_text("#tabs")
        assert focused(page) is None


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_screen(browser: Any, files: Path, width: int) -> None:
    for file in ("two.html", "text.html", "fertility.html"):
        with opened(browser, files / file, viewport={"width": width, "height": 800}) as page:
            for number in range(1, len(VIEWS) + 1):
                page.keyboard.press(str(number))
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (file, number)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Any, files: Path, scheme: str) -> None:
    with opened(browser, files / "two.html", color_scheme=scheme) as page:
        assert page.locator("html").get_attribute("data-theme") == scheme
        for number in range(1, len(VIEWS) + 1):
            page.keyboard.press(str(number))
            assert page.evaluate(CONTRAST) >= 4.5, VIEWS[number - 1]


def test_a_notebook_shows_the_page(browser: Any) -> None:
    page = browser.new_page(locale="en-GB")
    page.set_content(shown_first()._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("#tabs button").nth(1).click()
    assert frame.locator(".matrix").count() == 1
    page.close()


def test_hostile_tokens_are_shown_as_text(browser: Any, files: Path) -> None:
    with opened(browser, files / "hostile.html") as page:
        for number in range(1, len(VIEWS) + 1):
            page.keyboard.press(str(number))
            assert page.locator("img").count() == 0 and page.title() == "Saccade: Attention explorer"
        assert HOSTILE in page.inner_text("#header")


def test_a_text_shows_its_memory_and_a_model_says_what_it_lacks(browser: Any, files: Path) -> None:
    with opened(browser, files / "text.html") as page:
        assert "tokens in memory" in page.inner_text("#view")
        page.keyboard.press("4")
        assert "language model" in page.inner_text("#view")
    with opened(browser, files / "recurrent, none.html") as page:
        assert "no attention" in page.inner_text("#view")
        page.keyboard.press("5")
        assert page.locator(".bar").count() > 0
    with opened(browser, files / "fertility.html") as page:
        assert page.locator("#fertilities td").count() > 0
        page.keyboard.press("5")
        assert page.locator(".bar").count() > 0
    with opened(browser, files / "mask-predict.html") as page:
        page.keyboard.press("5")
        assert "not defined" in page.inner_text("#view")


def test_the_rounds_of_mask_predict_are_stepped_through(browser: Any, files: Path) -> None:
    own = rounds_record()
    assert own.passes is not None
    rounds = own.passes.rounds
    with opened(browser, files / "rounds.html") as page:
        page.keyboard.press("4")
        for number, one in enumerate(rounds, start=1):
            assert page.inner_text("#step") == f"Round {number} of {len(rounds)}"
            assert page.locator(".place").count() == len(one.tokens)
            assert page.locator(".place.written").count() == sum(one.written)
            place = one.written.index(True)
            page.click(f'[data-key="place {place}"]')
            first = page.locator("#candidates tr").nth(1).inner_text()
            assert float(first.split()[-1]) == pytest.approx(math.exp(one.candidates[place][0][1]), abs=1e-4)
            page.keyboard.press("n")


@pytest.mark.parametrize("kind", ["ctc", "dag"])
def test_slots_show_what_they_write_and_its_attributions(browser: Any, files: Path, kind: str) -> None:
    own = record(kind)
    assert own.passes is not None and own.passes.slots is not None
    with opened(browser, files / f"{kind}.html") as page:
        page.keyboard.press("4")
        assert page.locator(".place").count() == len(own.tokens["target"].pieces)
        assert page.locator(".place.written").count() == sum(map(len, own.passes.slots))
        page.keyboard.press("5")
        assert page.locator("[data-key^=output]").count() == len(own.tokens["output"].pieces)
