"""The page that shows records: one HTML file with its styles, scripts and data, which needs no network."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "strings.js",
    "data.js",
    "drawing.js",
    "state.js",
    "lines.js",
    "matrix.js",
    "overview.js",
    "decoding.js",
    "rounds.js",
    "attribution.js",
    "comparison.js",
    "picture.js",
    "page.js",
)
"""The scripts in the order in which they are joined; each may use those before it."""


def page(document: Mapping[str, Any]) -> str:
    """The page that shows a document of `saccade.inspection.document`."""
    return assembled(document, [own_text(name) for name in SCRIPTS])


def own_text(name: str) -> str:
    """The text of a file of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def assembled(data: Mapping[str, Any], scripts: Sequence[str], *, style: str = "") -> str:
    """A page in the form of all pages: the texts of scripts, joined in this order, over their data.

    Scripts find the data in the element "data" and draw into "header", "controls" and "view". style: rules
    behind those that all pages share.
    """
    parts = {"STYLE": own_text("page.css") + style, "DATA": embedded(data), "SCRIPT": "\n".join(scripts)}
    before, *rest = own_text("page.html").split("{{")
    return before + "".join(parts[name] + after for name, _, after in (part.partition("}}") for part in rest))


def embedded(document: Mapping[str, Any]) -> str:
    """The document as JSON that can stand in a script element, whatever text it contains.

    "<" is escaped, so that no text can end the element, and so are the two line ends that JSON allows in
    strings and older JavaScript does not.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in ("<", "\N{LINE SEPARATOR}", "\N{PARAGRAPH SEPARATOR}"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
