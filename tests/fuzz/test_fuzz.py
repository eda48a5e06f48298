"""The short form of the campaigns, and that they would notice what they look for."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.isolation import isolated

ROOT = Path(__file__).parents[2]


def fuzz(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_short_form_of_the_campaigns_finds_nothing() -> None:
    # In one process, which imports torch once.
    done = fuzz("folders", "options", "kernels", "--brief", "--share", "0.005", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("seed 3")[2]
    assert table.count(" 0 faults ") == 3


@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["kills", "threads", "sanitized"])
def test_a_part_of_the_longer_campaigns_finds_nothing(campaign: str) -> None:
    done = fuzz(campaign, "--share", "0.1", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr


def test_how_a_child_ends_is_seen(tmp_path: Path) -> None:
    def refuse() -> None:
        print("Error: no.", file=sys.stderr)
        sys.exit(2)

    def crash() -> None:
        faulthandler.disable()  # the crash is meant; pytest would print where it happened
        os.kill(os.getpid(), signal.SIGSEGV)

    def raise_() -> None:
        raise KeyError("x")

    def grow() -> None:
        big = bytearray(b"x") * (1200 << 20)  # touches every page
        time.sleep(0.5)
        del big

    def sleep() -> None:
        time.sleep(30)

    assert isolated(lambda: None, place=tmp_path).fault() is None
    assert isolated(refuse, place=tmp_path).fault() is None
    for work, word in ((crash, "exit code -11"), (raise_, "KeyError"), (grow, "takes 1"), (sleep, "hangs")):
        fault = isolated(work, place=tmp_path, seconds=1.0 if work is sleep else 20.0).fault()
        assert fault is not None and word in fault


def test_a_child_that_is_killed_or_meets_a_full_disk(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "file").write_bytes(b"x" * 5000)

    assert isolated(lambda: time.sleep(30), place=tmp_path, kill_after=0.1).code == -signal.SIGKILL
    ended = isolated(write, place=tmp_path, file_bytes=1000)
    assert "File too large" in ended.err
    assert (tmp_path / "file").stat().st_size == 1000
