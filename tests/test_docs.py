"""The documentation speaks of what there is: options, files, functions and tests."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
ABOVE = [ROOT / name for name in ("README.md", "README.zh-CN.md", "SECURITY.md")]
PAGES = [page for page in (*ABOVE, *DOCS) if page.exists()]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference.md"
    assert page.read_text(encoding="utf-8") == generator().reference(), (
        "docs/reference.md is out of date: a command, an option or a setting has changed. "
        "Run `make docs` and commit the page with the change."
    )


def test_check_writes_nothing_and_fails_where_the_page_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = generator()
    monkeypatch.setattr(docs, "PAGE", tmp_path / "reference.md")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match="1"):
        docs.main()
    assert not docs.PAGE.exists()
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    docs.main()
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    docs.main()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)|\b(?:src|href)=\"([^\"]+)\"", text)
    targets = [first or second for first, second in links]
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing, f"{page.name} links to what is not there"


def named(page: Path) -> Iterator[tuple[str, str]]:
    """(file, name or "") of every `folder/file.py` and `folder/file.py::name` on a page."""
    pattern = r"`((?:saccade|tests|docs|benchmarks)/[\w./-]+\.py)(?:::([\w.]+))?`"
    yield from re.findall(pattern, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_file_function_and_test_that_is_named_exists(page: Path) -> None:
    missing = []
    for file, name in named(page):
        path = ROOT / file
        if "NAME" in file:  # where the reader's own file goes
            continue
        code = path.read_text(encoding="utf-8") if path.is_file() else ""
        parts = name.split(".") if name else []
        if not path.is_file() or not all(
            re.search(rf"(?:^|\s)(?:def|class) {part}\b|^{part}\b", code, re.MULTILINE) for part in parts
        ):
            missing.append(f"{file}::{name}" if name else file)
    assert not missing, f"{page.name} names what is not there: correct the page or the name"
