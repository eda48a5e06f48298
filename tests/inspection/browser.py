"""Pages in a real browser: where it is, how a page is opened, and records that pages show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from saccade.inspection.record import Inspection
from saccade.inspection.words import Tokens
from tests.inspection.records import LINE, at_once, translator

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"),
    "--disable-component-update",
]
HOSTILE = "<img src=x onerror=\"document.title='broken'\"></script><b>"


def browser_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("SACCADE_BROWSER") or next(filter(None, map(shutil.which, names)), None)


def shown_first() -> Inspection:
    """The first record of the page; its translation has a few pieces."""
    return translator("transformer").inspect(LINE, name="first", beam=3, min_length=5, max_length=9)


def rounds_record() -> Inspection:
    """The record of a translation that mask-predict wrote in three rounds."""
    return at_once("mask-predict").inspect(LINE, name="rounds", iterations=3)


def hostile(found: Inspection) -> Inspection:
    pieces = (HOSTILE, *found.tokens["source"].pieces[1:])
    words = (HOSTILE, *found.tokens["source"].words[1:])
    source = Tokens(pieces, found.tokens["source"].numbers, words)
    return replace(found, name=HOSTILE, source=HOSTILE, tokens={**found.tokens, "source": source})


@contextmanager
def opened(browser: Any, file: Path, **options: Any) -> Iterator[Any]:
    """The page of a file; an error in the console or a request for anything else fails the test."""
    context = browser.new_context(
        **{"viewport": {"width": 1200, "height": 800}, "locale": "en-GB", **options}
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url != file.as_uri() and wrong.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not wrong


CONTRAST = """() => {
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.startsWith("rgba(") || !colour.endsWith(" 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let least = 21;
  const shown = "h1, h2, p, dt, dd, button, td, th, figcaption, label span, .bar b, .caption";
  for (const node of document.querySelectorAll(shown)) {
    if (!node.textContent.trim() || !node.offsetParent) continue;
    const one = luminance(getComputedStyle(node).color), other = luminance(behind(node));
    least = Math.min(least, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05));
  }
  return least;
}"""
