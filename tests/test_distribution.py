"""The distribution: its name stands once, and hints say what works for how it was installed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import saccade
from saccade import distribution
from saccade.errors import Unsupported

ROOT = Path(__file__).parents[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As where a wheel puts it: no checkout around it."""
    monkeypatch.setattr(distribution, "__file__", str(tmp_path / "site" / "saccade" / "distribution.py"))
    return tmp_path / "site"


def test_the_project_file_and_the_constant_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == distribution.NAME
    assert saccade.__version__ == distribution.version() == distribution.VERSION
    assert distribution.checkout() == ROOT


def test_a_checkout_is_installed_from_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert distribution.install_hint("plot") == "pip install -e '.[plot]'"
    monkeypatch.chdir(tmp_path)
    assert distribution.install_hint("plot") == f"pip install -e '{ROOT}[plot]'"


def test_an_installed_package_is_named_as_the_index_has_it(installed: Path) -> None:
    assert distribution.install_hint("plot") == "pip install 'saccade-seq2seq[plot]'"
    assert str(distribution.missing("drawing needs matplotlib", "plot")) == (
        "drawing needs matplotlib: pip install 'saccade-seq2seq[plot]'."
    )
    assert isinstance(distribution.missing("x", "plot"), Unsupported)


def test_somebody_elses_project_file_makes_no_checkout(installed: Path) -> None:
    installed.mkdir()
    for text in ('[project]\nname = "other"\n', "[tool]\n", "[broken"):
        (installed / "pyproject.toml").write_text(text, encoding="utf-8")
        assert distribution.checkout() is None


def test_extras_are_the_declared_ones(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ['matplotlib>=3.9; extra == "plot"', "torch>=2", 'onnx; extra == "onnx"', 'ruff; extra == "dev"']
    monkeypatch.setattr(distribution, "requires", lambda _: lines)
    assert distribution.extras() == {"plot": ["matplotlib"], "onnx": ["onnx"]}

    def missing(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(distribution, "requires", missing)
    assert distribution.extras() == {}
    monkeypatch.undo()
    assert distribution.extras()["onnx"] == ["onnx", "onnxscript", "onnxruntime"]


def test_nothing_else_asks_for_the_version_or_writes_the_name() -> None:
    other = re.compile(r"version\(['\"]saccade|saccade\[|['\"]saccade-seq2seq")
    files = [path for path in (ROOT / "saccade").rglob("*.py") if path.name != "distribution.py"]
    assert not [path for path in files if other.search(path.read_text(encoding="utf-8"))]
