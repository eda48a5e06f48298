"""A tiny trained run, the command line within this process, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saccade.__main__ import app
from saccade.text.numbers import write_corpus

SMALLEST = [
    "model.width=16",
    "model.heads=2",
    "model.feed_forward=32",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "training.steps=4",
    "training.batch_tokens=512",
    "training.warmup=2",
    "validation.every=2",
    "validation.max_sentences=5",
]
"""Settings of a model that trains in a second, and translates into nonsense."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def lines(self) -> list[str]:
        """Lines as Saccade means them: ended by the newline character alone."""
        return self.text.split("\n")[:-1]


def arguments(*words: object) -> list[str]:
    return [str(word) for word in words]


def settings(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def saccade() -> Run:
    """saccade(words..., stdin=bytes): the command line in this process; a fault of ours raises."""

    def run(*words: object, stdin: bytes = b"") -> Result:
        result = CliRunner().invoke(app, arguments(*words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout_bytes, result.stderr)

    return run


@pytest.fixture(scope="session")
def process() -> Run:
    """The same as a process of its own, as users start it."""

    def run(
        *words: object, stdin: bytes = b"", prepare: Callable[[], None] | None = None, cwd: Path | None = None
    ) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "saccade", *arguments(*words)],
            input=stdin,
            capture_output=True,
            preexec_fn=prepare,
            cwd=cwd,
            env=environment(),
            check=False,
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode("utf-8"))

    return run


def environment() -> Mapping[str, str]:
    root = str(Path(__file__).parents[2])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.en, train.de, ..., test.de: a few hundred number words."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, train=300, valid=20, test=30)
    return folder


def pair(corpus: Path, split: str = "train") -> list[str]:
    return arguments("--source", corpus / f"{split}.en", "--target", corpus / f"{split}.de")


@pytest.fixture(scope="session")
def run_folder(saccade: Run, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `saccade train` makes of it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    result = saccade("train", *pair(corpus), "--out", run, *settings(SMALLEST))
    assert result.code == 0, result.err
    assert f"saccade translate {run}" in result.text
    return run


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(result: Result, *parts: str) -> None:
    """Exit code 2 and one message, which has all the parts; no traceback, nothing on standard output."""
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    assert result.err.count("Error:") == 1
    assert result.out == b""
    message = result.err.partition("Error:")[2]
    for part in parts:
        assert part in message
