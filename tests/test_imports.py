"""Who may import whom: layers import downwards only, and inference never imports training.

The table below is the rule. A new file or package of `saccade/` has to be entered here first, which is
the moment to think about where it belongs. Optional dependencies are imported where they are used.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BENEATH = {"errors", "storage"}
"""What the files that all may import are made of."""
EVERYWHERE = {"config", "distribution", "machine"} | BENEATH
INFERENCE = {
    "quantisation",
    "frames",
    "text",
    "native",
    "nn",
    "models",
    "engine",
    "decoding",
    "model_folder",
    "use",
}

# Unit (a package or a file of saccade/) -> what it may import besides EVERYWHERE and itself.
# "models.interface" stands for that one file or folder; "models" for the whole package.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "storage": set(),
    "config": set(),
    "machine": set(),
    "distribution": set(),
    "frames": set(),
    "text": {"frames"},
    "quantisation": set(),
    "native": {"quantisation"},
    "nn": {"native"},
    "models": {"nn"},
    "decoding": {
        "native",
        "nn.rows",
        "nn.dag",
        "nn.ctc",
        "models.interface",
        "models.families",
        "models.recording",
        "models.nonautoregressive",
    },
    "engine": {"quantisation", "native", "nn", "models"},
    "model_folder": {"quantisation", "native", "text", "models"},
    "inspection": {"decoding", "frames", "text"} | {"models.families", "models.recording"},
    "use": {"quantisation", "frames", "text", "native", "nn", "models", "engine", "decoding", "model_folder"}
    | {"inspection"},
    "evaluation": INFERENCE,
    "comparison": INFERENCE | {"evaluation"},
    "alignment": INFERENCE,
    "interop": INFERENCE,
    "training": INFERENCE | {"evaluation"},
    "tasks": INFERENCE | {"evaluation", "training"},
    "runs": INFERENCE | {"training", "tasks"},
    "doctor": INFERENCE | {"interop", "training"},
    "demo": INFERENCE | {"evaluation", "inspection", "training", "runs"},
    "lab": INFERENCE | {"evaluation", "inspection", "alignment", "training"},
    "__init__": INFERENCE,
    "commands": INFERENCE
    | {"evaluation", "comparison", "inspection", "alignment", "interop", "training", "tasks", "runs"}
    | {"doctor", "demo", "lab"},
    "__main__": {"commands", "training"},
}
TRAINING = {"training", "tasks", "runs", "doctor", "demo", "lab", "commands"}


def unit_of(module: str) -> str:
    """saccade.text.corpus -> text; saccade itself -> __init__."""
    return [*module.split("."), "__init__"][1]


def ancestors(module: str) -> Iterator[str]:
    """saccade.models.nonautoregressive.ctc -> models, models.nonautoregressive, ...; saccade -> __init__."""
    parts = module.split(".")[1:] or ["__init__"]
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def module_of(file: Path, *, root: Path) -> str:
    parts = file.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imported(tree: ast.AST, *, package: str, root: Path) -> Iterator[tuple[int, str]]:
    """(line, full module name) of every import of ours, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == root.name:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            if base.split(".")[0] != root.name:
                continue
            folder = root.joinpath(*base.split(".")[1:])
            for alias in node.names:
                is_module = (folder / alias.name).is_dir() or (folder / f"{alias.name}.py").is_file()
                yield node.lineno, f"{base}.{alias.name}" if is_module else base


def violations(root: Path, allowed: Mapping[str, set[str]]) -> list[str]:
    """One line for every import in the package folder `root` that the table does not allow."""
    found = []
    for file in sorted(root.rglob("*.py")):
        module = module_of(file, root=root)
        unit = unit_of(module)
        name = file.relative_to(root.parent).as_posix()
        if unit not in allowed:
            found.append(f"{name}: {unit} is not in the table; enter what it may import")
            continue
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        # What all may import must not import all of it, which would close a cycle.
        may = {unit} | (BENEATH if unit in EVERYWHERE else EVERYWHERE) | allowed[unit]
        for line, target in imported(ast.parse(file.read_text(encoding="utf-8")), package=package, root=root):
            if not set(ancestors(target)) & may:
                found.append(f"{name}:{line}: {unit} may not import {target}")
    return found


def test_every_import_is_in_the_table() -> None:
    assert not violations(ROOT / "saccade", ALLOWED)


def reachable(unit: str) -> set[str]:
    direct = {name.partition(".")[0] for name in ALLOWED[unit]}
    return direct.union(*(reachable(name) for name in direct))


def test_the_table_only_leads_downwards() -> None:
    # A cycle would end in a RecursionError.
    assert all(unit not in reachable(unit) for unit in ALLOWED)


@pytest.mark.parametrize("unit", sorted(ALLOWED.keys() - TRAINING - {"__main__"}))
def test_inference_never_imports_training(unit: str) -> None:
    assert not reachable(unit) & TRAINING


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package: low <- high, high.inner; and side, of which high may import only side.door."""
    root = tmp_path / "saccade"
    for folder in ("low", "high", "side"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text("")
    (root / "__init__.py").write_text("")
    (root / "errors.py").write_text("")
    (root / "config.py").write_text("import saccade.errors\n")
    (root / "low" / "deep.py").write_text("from saccade.config import x\nfrom . import other\n")
    (root / "high" / "inner.py").write_text(
        "from saccade import low\nfrom ..low import deep\nimport saccade.low\n"
    )
    (root / "side" / "door.py").write_text("import numpy\n")
    return root


TABLE = {"__init__": set(), "errors": set(), "config": set(), "low": set(), "side": set()}
TABLE["high"] = {"low", "side.door"}


def test_allowed_imports_pass(package: Path) -> None:
    (package / "high" / "more.py").write_text(
        "from saccade.side.door import x\nfrom saccade.side import door\n"
    )
    assert violations(package, TABLE) == []


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("low/deep.py", "import saccade.high.inner"),
        ("low/deep.py", "from saccade.high import inner"),
        ("low/deep.py", "from saccade import high"),
        ("low/deep.py", "from ..high.inner import x"),
        ("low/deep.py", "from .. import high"),
        ("low/__init__.py", "from ..high import x"),
        ("low/deep.py", "def late():\n    from saccade.high import x"),
        ("high/inner.py", "from saccade.side import window"),
        ("high/inner.py", "import saccade.side"),
        ("low/deep.py", "from saccade import load"),
        ("low/deep.py", "import saccade"),
        ("errors.py", "import saccade.config"),
        ("config.py", "import saccade.low"),
    ],
)
def test_an_import_that_is_not_in_the_table_is_found_in_every_form(
    package: Path, file: str, code: str
) -> None:
    (package / file).write_text(code)
    assert len(violations(package, TABLE)) == 1


def test_a_package_that_is_missing_from_the_table_is_an_error(package: Path) -> None:
    (package / "attic").mkdir()
    (package / "attic" / "__init__.py").write_text("")
    assert violations(package, TABLE) == [
        "saccade/attic/__init__.py: attic is not in the table; enter what it may import"
    ]


# --- other people's packages ---------------------------------------------------------------------


def at_module_level(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the file is imported: not those within functions or for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_module_level(child)


def core_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in project["dependencies"]}
    return names | {"pydantic_core"}  # a part of pydantic with a name of its own


def test_only_core_dependencies_are_imported_at_module_level() -> None:
    known = core_dependencies() | set(sys.stdlib_module_names) | {"saccade"}
    found = []
    for file in sorted((ROOT / "saccade").rglob("*.py")):
        for node in at_module_level(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or "saccade"]
            )
            found += [
                f"{file.relative_to(ROOT)}:{node.lineno}: {n}" for n in names if n.split(".")[0] not in known
            ]
    assert not found, "import optional packages where they are used"
