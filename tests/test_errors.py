"""Errors: their codes, where they are raised, and that advice for a command line stands in commands/."""

from __future__ import annotations

import ast
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from saccade import errors
from saccade.__main__ import COMMANDS
from saccade.commands.hints import HINTS, described
from saccade.errors import UserError
from saccade.models import KINDS

ROOT = Path(__file__).parents[1] / "saccade"
CLASSES = {
    name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, UserError)
}
NAMES = "|".join(command.__name__.rstrip("_") for command in COMMANDS)
FLAG = re.compile(rf"(?<![\w-])--([a-z]|$)|\bsaccade ({NAMES})\b")


def trees(*, commands: bool) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.is_relative_to(ROOT / "commands") or path == ROOT / "__main__.py"
        if inside == commands:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """String constants that are not docstrings, with their lines."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def named_flags(tree: ast.Module) -> list[tuple[int, str]]:
    # A text without a blank is no sentence: an argument for the C compiler, for example.
    return [(line, text) for line, text in texts(tree) if " " in text and FLAG.search(text)]


def test_no_message_outside_the_commands_names_a_command_or_an_option() -> None:
    found = [
        f"{path}:{line}: {text}"
        for path, tree in trees(commands=False)
        if not path.is_relative_to(ROOT / "lab")  # its texts are documents, not messages
        for line, text in named_flags(tree)
    ]
    assert not found, "give the error a topic and put the advice into commands/hints.py"


@pytest.mark.parametrize("code", ['"give --beam 3"', 'f"{a}: run `saccade train {b}`"', 'f"use --{a}"'])
def test_a_message_that_names_one_is_found(code: str) -> None:
    assert len(named_flags(ast.parse(f"x = {code}"))) == 1


def calls() -> Iterator[ast.Call]:
    for commands in (False, True):
        for _, tree in trees(commands=commands):
            yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_every_topic_has_advice_and_all_advice_is_used() -> None:
    topics = {
        ast.literal_eval(keyword.value)
        for call in calls()
        for keyword in call.keywords
        if keyword.arg == "topic" and isinstance(keyword.value, ast.Constant)
    } | {kind.family.topic for kind in KINDS.values()}
    assert topics == HINTS.keys()


def test_every_class_is_raised_in_more_than_one_place() -> None:
    raised = Counter(call.func.id for call in calls() if isinstance(call.func, ast.Name))
    assert {name: raised[name] for name in CLASSES if raised[name] < 2} == {}


def test_each_class_has_the_code_that_its_table_says() -> None:
    table = dict(re.findall(r"^ *(\w+) +(\d{3})\b", errors.__doc__ or "", re.MULTILINE))
    assert table == {name: str(one.code) for name, one in CLASSES.items()}
    assert all(400 <= one.code < 600 for one in CLASSES.values())


def test_the_advice_is_filled_in_and_stays_out_of_the_message() -> None:
    error = errors.Conflict("runs/a: already holds a run.", topic="run-exists", run="runs/a")
    assert str(error) == "runs/a: already holds a run."
    assert (
        described(error)
        == f"{error} Resume it with `saccade train --resume runs/a`, or choose another --out."
    )
    assert described(UserError("plain")) == "plain"


def test_advice_follows_a_whole_sentence() -> None:
    for message in ("Two columns", "Two columns."):
        advised = described(UserError(message, topic="columns"))
        assert advised.startswith("Two columns. On the command line")


def test_errors_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(errors.TooLong("line 3", topic="out", run="x")))
    assert (type(error), str(error), error.topic, error.details) == (
        errors.TooLong,
        "line 3",
        "out",
        {"run": "x"},
    )
