"""Phrases that have proved hard to read stay out of what people read, and paragraphs stay short."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FILES = [
    *PAGES,
    *sorted((ROOT / "examples").glob("*.toml")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *sorted((ROOT / "saccade").rglob("*.py")),
]
LONGEST_PARAGRAPH = 120  # words

BANNED = {
    r"\banew\b": "again, new",
    r"\bso many\b": "the number itself, or its name",
    r"\bas ever\b": "as usual, or what exactly",
    r"\b(?:go|goes|going|gone) on with\b": "continue, resume",
    r"\bmend(?:s|ed|ing)?\b": "repair, correct",
    r"\bwhere there (?:is|are|was|were)\b": "if there is",
    r"\btold\b": "given, named, shown",
    r"\bfor people\b": "human-readable",
    r"\bbut for\b": "except for",
    r"\bHeld by\b": "Tested by",
    r"\b(?:symbols?|ones|padding|tokens) in(?=[,.;:)]|$)": "included",
    r"(?:\A|\. )Of (?:the draws|the products|sampling)\b": "a full sentence",
}
"""Pattern to what is better."""

IN_CODE = {r"\AOf\b": "a full sentence"}
"""Patterns for docstrings, strings and comments: none is a fragment that begins with "Of"."""


def prose(markdown: str) -> str:
    """The page without blocks and spans of code, which become as many line ends as they had."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n") or "`code`"

    return re.sub(r"```.*?```|`[^`]*`", blank, markdown, flags=re.DOTALL)


def passages(file: Path) -> Iterator[tuple[int, str]]:
    """(first line, text) of what a person reads in a file: prose, strings and docstrings, or comments."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        yield 1, prose(text)
    elif file.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, prose(node.value)
        with file.open("rb") as stream:
            for token in tokenize.tokenize(stream.readline):
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string.lstrip("# ")
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            yield number, line.partition("#")[2].strip()


def found(text: str, *, code: bool = False) -> Iterator[tuple[int, str]]:
    """(line from 0, what is wrong) of each banned phrase; a phrase may be broken between lines."""
    flat = re.sub(r"\s", " ", text)
    for pattern, better in {**BANNED, **(IN_CODE if code else {})}.items():
        for match in re.finditer(pattern.replace(" ", " +"), flat):
            yield text.count("\n", 0, match.start()), f"{match[0]!r}: write {better}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_phrase_that_is_hard_to_read(file: Path) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{first + line}: {what}"
        for first, text in passages(file)
        for line, what in found(text, code=file.suffix == ".py")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_paragraph_is_too_long(page: Path) -> None:
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)", prose(page.read_text(encoding="utf-8")))
    paragraphs = [block.split() for block in blocks if not block.lstrip().startswith("|")]
    long = [" ".join(words[:12]) for words in paragraphs if len(words) > LONGEST_PARAGRAPH]
    assert not long, (
        f"{page.name}: more than {LONGEST_PARAGRAPH} words in the paragraphs that begin so: {long}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "The text is read anew.",
        "reads so\nmany tokens",
        "A demo that was stopped is gone on with.",
        "Nothing to mend.",
        "the longest source, end symbol in, of a model",
        "A faster engine where there is one.",
    ],
)
def test_a_banned_phrase_is_found(text: str) -> None:
    assert list(found(text))


@pytest.mark.parametrize(
    "text", ["We recommend it.", "for everybody", "Tokens in the source count.", "as every other one"]
)
def test_other_words_are_not(text: str) -> None:
    assert not list(found(text))


def test_a_fragment_is_found_in_code_and_a_sentence_is_not() -> None:
    assert list(found("Of each sentence.", code=True))
    assert not list(found("The length of each sentence.", code=True))


def test_code_on_a_page_is_left_out_and_line_numbers_stay() -> None:
    text = prose("one\n```\nread anew\n```\n`anew`, told\n")
    assert [(line, what.partition(":")[0]) for line, what in found(text)] == [(4, "'told'")]
