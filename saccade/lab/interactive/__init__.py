"""Pages to play with: one HTML file each, which needs no network. They compute what the library computes.

`compute.js` and, for models, `rungs.js` hold the mathematics, without anything of a page; `frame.js` the
header, languages and keys that the pages share; each page has a file of its own. Style and drawing are those
of the explorer's page.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from saccade.inspection.page import assembled, own_text

CALCULATOR, POSITIONS, LADDER, RACE = "calculator", "positions", "ladder", "race"
"""The names of the pages, and of their scripts."""

COMPUTE, RUNGS = "compute.js", "rungs.js"


def script(name: str) -> str:
    """The text of a script of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def interactive_page(name: str, data: Mapping[str, Any] | None = None) -> str:
    """The page of this name. data: what it shows, for those that do not compute it themselves."""
    own = [script(RUNGS)] if name == LADDER else []
    scripts = [own_text("drawing.js"), script(COMPUTE), *own, script("frame.js"), script(f"{name}.js")]
    return assembled(data or {}, scripts, style=script("style.css"))
