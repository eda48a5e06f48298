"""The name of the package, its version, and the installation of its optional packages."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from saccade.errors import Unsupported

NAME = "saccade-seq2seq"
"""Name on the Python package index, where `saccade` is another project. Import and command are `saccade`."""

VERSION = "0.1.0"


def version() -> str:
    """The version of this code, however it was installed."""
    return VERSION


def install_hint(extra: str) -> str:
    """The command that installs an extra, in a checkout or for an installed package."""
    source = checkout()
    if source is None:
        return f"pip install '{NAME}[{extra}]'"
    place = "." if source == Path.cwd() else source
    return f"pip install -e '{place}[{extra}]'"


def missing(what: str, extra: str) -> Unsupported:
    """The error for a missing optional package."""
    return Unsupported(f"{what}: {install_hint(extra)}.")


def extras() -> dict[str, list[str]]:
    """The packages of each extra, without those for developers; empty if they are not recorded."""
    source = checkout()
    if source is not None:
        declared = _project(source / "pyproject.toml")["optional-dependencies"]
        return {
            extra: [_package(one) for one in packages if _wanted(one)]
            for extra, packages in declared.items()
            if extra != "dev"
        }
    found: dict[str, list[str]] = {}
    try:
        requirements = requires(NAME) or []
    except PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        match = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if match and match[1] != "dev" and _wanted(requirement):
            found.setdefault(match[1], []).append(_package(requirement))
    return found


def checkout() -> Path | None:
    """The source tree that this code runs from; None if it was installed as a package."""
    folder = Path(__file__).resolve().parents[1]
    try:
        ours = _project(folder / "pyproject.toml").get("name") == NAME
    except (OSError, ValueError, KeyError):
        ours = False
    return folder if ours else None


def _project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


def _package(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def _wanted(requirement: str) -> bool:
    """Whether this Python needs the package, whose marker may say "only before version X"."""
    match = re.search(r"python_version\s*<\s*['\"](\d+)\.(\d+)['\"]", requirement)
    return match is None or sys.version_info < (int(match[1]), int(match[2]))
