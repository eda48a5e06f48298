"""The READMEs say nothing that isn't so: commands, options, files, and the Python example."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from saccade.__main__ import app

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
GROUP = typer.main.get_command(app)


def commands(readme: Path) -> list[list[str]]:
    """Lines of code blocks that call saccade, comments and redirections taken off."""
    blocks = re.findall(r"```\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("saccade ")]
    return [shlex.split(re.split(r"\s[#<>]\s", line)[0]) for line in lines]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_line_parses(readme: Path) -> None:
    lines = commands(readme)
    assert len(lines) >= 5
    for _, name, *arguments in lines:
        command = GROUP.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, arguments)


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_file_and_make_target_that_it_names_exists(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    for path in re.findall(r"(?:examples|docs|benchmarks)/[\w./-]+\.\w+", text):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile, target


def test_both_languages_show_the_same_blocks() -> None:
    english, chinese = (commands(readme) for readme in READMES)
    assert english == chinese
    pattern = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
    assert pattern.findall(READMES[0].read_text()) == pattern.findall(READMES[1].read_text())


def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import saccade

    golden, load = Path(__file__).parent / "data" / "model-v1", saccade.load
    monkeypatch.setattr(saccade, "load", lambda _: load(golden))
    code = re.findall(r"```python\n(.*?)```", READMES[0].read_text(), flags=re.DOTALL)[0]
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
