"""How the program ends: its exit codes, and what it imports before it has to."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from saccade.__main__ import COMMANDS, _guarded
from saccade.errors import Interrupted, UserError
from tests.commands.conftest import SMALLEST, Run, environment, pair, settings

HEAVY = (
    "torch",
    "numpy",
    "sentencepiece",
    "sacrebleu",
    "matplotlib",
    "tensorboard",
    "rich",
    "saccade.training",
)


def ends(fault: BaseException) -> tuple[int, str, BaseException | None]:
    """Exit code and message of a command that raises this."""

    def command() -> None:
        raise fault

    app = typer.Typer()
    app.command()(_guarded(command))
    result = CliRunner().invoke(app, [])
    error = None if isinstance(result.exception, SystemExit) else result.exception
    return result.exit_code, result.stderr, error


def test_a_users_mistake_ends_with_2_and_its_message() -> None:
    assert ends(UserError("no such file")) == (2, "Error: no such file\n", None)


def test_an_interrupted_training_ends_with_130_and_says_how_to_go_on() -> None:
    assert ends(Interrupted("Saved. Resume with ...")) == (130, "Saved. Resume with ...\n", None)


def test_ctrl_c_ends_with_130() -> None:
    assert ends(KeyboardInterrupt()) == (130, "Interrupted.\n", None)


def test_a_full_disk_is_the_users_matter() -> None:
    code, message, error = ends(OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl"))
    assert (code, error) == (2, None)
    assert (
        message == "Error: runs/a/metrics.jsonl: cannot write: No space left on device. "
        "Free some space and try again.\n"
    )


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), RuntimeError("a bug")])
def test_a_fault_of_ours_ends_with_1_and_its_traceback(fault: Exception) -> None:
    code, _, error = ends(fault)
    assert code == 1
    assert error is fault


def test_every_command_has_a_summary_an_example_and_help_for_each_option(saccade: Run) -> None:
    overview = saccade("--help").text
    for command in COMMANDS:
        name = command.__name__.rstrip("_")
        assert f"  {name}  " in overview
        text = saccade(name, "--help").text
        assert "Example" in text and f"saccade {name}" in text
    assert "..." not in overview.partition("Commands:")[2], "a summary is cut off"


def test_the_version_is_told(saccade: Run) -> None:
    assert saccade("--version").text.startswith("saccade 0.")


def test_help_imports_nothing_heavy() -> None:
    assert loaded("--help") == []
    assert loaded("translate", "--help") == []


def test_translating_imports_no_training_scores_or_pictures(run_folder: Path) -> None:
    wrong = {"sacrebleu", "matplotlib", "tensorboard", "rich", "saccade.training", "saccade.evaluation"}
    assert not wrong & set(loaded("translate", str(run_folder)))


def loaded(*words: str) -> list[str]:
    """Which heavy modules a command has imported when it ends."""
    code = (
        "import sys\nfrom saccade.__main__ import app\n"
        f"try: app({list(words)!r})\n"
        "except SystemExit as end: assert not end.code\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=b"one\n",
        capture_output=True,
        env=environment(),
        check=True,
        timeout=60,
    )
    return done.stdout.decode("utf-8").rpartition("LOADED")[2].split()


def test_a_reader_that_has_seen_enough_is_no_error(run_folder: Path) -> None:
    command = (
        f"yes one | head -5000 | {sys.executable} -m saccade translate {run_folder} --max-length 1 | head -1"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, env=environment(), check=False, timeout=60
    )
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr and b"Error" not in done.stderr and b"Broken" not in done.stderr


@contextlib.contextmanager
def started(*words: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "saccade", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # Tests that run in the background have Ctrl-C ignored, and what they start would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], *, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_while_the_data_are_prepared_says_how_to_go_on(tmp_path: Path) -> None:
    for side in ("en", "de"):
        lines = [f"{side} {number} {number * 7919 % 1000003:x}" for number in range(100_000)]
        (tmp_path / side).write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = tmp_path / "run"
    with started("train", "--source", tmp_path / "en", "--target", tmp_path / "de", "--out", run) as process:
        wait_for((run / "config.toml").is_file, process=process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode("utf-8").endswith(f"Resume with: saccade train --resume {run}\n")
    assert b"Traceback" not in errors


def test_ctrl_c_while_it_trains_saves_and_says_how_to_resume(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*pair(corpus), *settings([*SMALLEST, "training.steps=100000", "training.save_every=2"])]
    with started("train", *words, "--out", run) as process:
        wait_for((run / "checkpoints" / "last").is_dir, process=process)  # it has made its first updates
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode("utf-8").endswith(f" and saved. Resume with: saccade train --resume {run}\n")
    assert (run / "checkpoints" / "last").is_dir()
