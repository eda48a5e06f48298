"""Standard streams that are closed, readers that go away, and a terminal that does."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from saccade.commands.streams import _Messages, _Output, _text
from saccade.text.standard_input import Input
from tests.commands.conftest import SMALLEST, Run, arguments, environment, pair, settings
from tests.commands.test_translate import QUICK


def shell(command: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    """Runs `saccade WORDS` with redirections that subprocess does not have."""
    line = f'exec "{sys.executable}" -m saccade "$@" {command}'
    return subprocess.run(
        ["bash", "-c", line, "saccade", *arguments(*words)],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=120,
    )


def gone() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_a_file_is_written_without_any_standard_stream(
    saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    words = ("translate", run_folder, corpus / "valid.en", *QUICK)
    done = shell("<&- >&- 2>&-", *words, "--output", tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes() == saccade(*words).out


@pytest.mark.parametrize(
    ("closed", "words", "message"),
    [
        (">&-", [], "standard output is closed"),
        ("<&-", ["--output", "out"], "standard input is closed"),
        (">&-", ["--output", "/dev/stdout"], "/dev/stdout: cannot write"),
    ],
)
def test_what_nobody_can_read_or_give_is_refused_at_once(
    closed: str, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").write_text("older")
    done = shell(closed, "translate", "no-model", *(["-"] if closed == "<&-" else ["in"]), *words)
    assert done.returncode == 2
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert Path("out").read_text() == "older"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_a_reader_that_is_gone_ends_help_quietly(words: list[str]) -> None:
    writing = gone()
    command = [sys.executable, "-m", "saccade", *words]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_output_that_nobody_reads_ends_the_process_once() -> None:
    stream = _text(_Output(gone(), "w"), like=None)
    stream.write("text")
    with pytest.raises(SystemExit) as end:
        stream.flush()
    assert end.value.code == 141
    stream.write("more")  # at the exit, Python writes what is left
    stream.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_output_to_a_full_disk_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    stream = _text(_Output(os.open("/dev/full", os.O_WRONLY), "w"), like=None)
    with pytest.raises(SystemExit) as end:
        print("text", file=stream)
    assert end.value.code == 2
    stream.close()
    assert capsys.readouterr().err.count("Error: cannot write: No space left on device") == 1


def test_output_waits_for_a_pipe_that_is_full_and_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    reader = subprocess.Popen(["wc", "-c"], stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    with _text(_Output(writing, "w"), like=None) as stream:
        stream.write("x" * 1_000_000)
    assert reader.communicate(timeout=60)[0].strip() == b"1000000"


def test_messages_that_nobody_reads_are_dropped() -> None:
    terminal, inner = pty.openpty()
    os.close(terminal)
    for handle in (gone(), inner):
        stream = _text(_Messages(handle, "w"), like=None)
        for _ in range(3):
            stream.write("text\n")
            stream.flush()
        stream.close()


def test_a_terminal_that_is_gone_is_the_end_of_the_input() -> None:
    terminal, inner = pty.openpty()
    os.write(terminal, b"line\n")
    stream = io.BufferedReader(Input(inner, "r"))
    assert stream.readline() == b"line\n"
    os.close(terminal)
    assert stream.readline() == b""
    stream.close()


def test_training_goes_on_when_its_terminal_is_gone(corpus: Path, tmp_path: Path) -> None:
    """The process leads a session with its own terminal, which disappears; a signal says so."""
    terminal, inner = pty.openpty()
    run, steps = tmp_path / "run", 12
    words = [*pair(corpus), "--out", run, *settings([*SMALLEST, f"training.steps={steps}"])]

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "saccade", "train", *arguments(*words)],
            stdin=inner,
            stdout=printed,
            stderr=inner,
            env=environment(),
            preexec_fn=take_terminal,  # noqa: PLW1509
        )
    os.close(inner)
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "best").exists():
        assert process.poll() is None and time.monotonic() < deadline
        os.set_blocking(terminal, False)
        try:
            os.read(terminal, 1 << 16)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(terminal)
    assert process.poll() is None
    assert process.wait(timeout=300) == 0
    assert f"Done: {steps} steps" in (tmp_path / "printed").read_text()
