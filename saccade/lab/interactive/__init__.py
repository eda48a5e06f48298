"""Pages to play with: one HTML file each, which needs no network. They compute what the library computes.

`compute.js` holds the mathematics, without anything of a page; `frame.js` the header, languages and keys that
the pages share with the explorer's look; each page has a file of its own.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from saccade.inspection.page import assembled, own_text

CALCULATOR, POSITIONS, LADDER, RACE = "calculator", "positions", "ladder", "race"
"""The names of the pages, and of their scripts."""

COMPUTE = "compute.js"


def script(name: str) -> str:
    """The text of a script of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def interactive_page(name: str, data: Mapping[str, Any] | None = None) -> str:
    """The page of this name. data: what it shows, for those that do not compute it themselves."""
    scripts = [own_text("drawing.js"), script(COMPUTE), script("frame.js"), script(f"{name}.js")]
    return assembled(data or {}, scripts, style=script("style.css"))
