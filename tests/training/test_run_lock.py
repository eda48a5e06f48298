"""Only one process trains in a run folder, and its lock dies with it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.errors import Conflict
from saccade.training import run_lock
from saccade.training.distributed import Group
from saccade.training.run_lock import LOCK, OWNER, owned

HOLD = """
import sys, time
from pathlib import Path
from saccade.training.distributed import Group
from saccade.training.run_lock import owned
with owned(Path(sys.argv[1]), Group()):
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["flock", "by name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by name":
        forget_how_to_lock(monkeypatch)
    return str(request.param)


def forget_how_to_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def lock(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock, "_lock", lock)


def holder(run: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_a_second_process_is_refused_by_name_until_the_first_is_killed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = holder(run)
    try:
        with pytest.raises(Conflict, match=f"process {first.pid} on {socket.gethostname()} is training"):
            owned(run, Group()).__enter__()
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert (run / LOCK).exists()
    with owned(run, Group()):
        pass
    assert not (run / LOCK).exists()


def test_the_lock_leaves_nothing_behind_and_keeps_what_was_made(tmp_path: Path, way: str) -> None:
    with owned(tmp_path / "runs" / "first", Group()):
        assert run_lock.is_empty(tmp_path / "runs" / "first")
    assert list(tmp_path.iterdir()) == []
    with owned(tmp_path / "runs" / "first", Group()):
        (tmp_path / "runs" / "first" / "config.toml").touch()
    assert [path.name for path in (tmp_path / "runs" / "first").iterdir()] == ["config.toml"]


def test_only_the_leader_locks(tmp_path: Path) -> None:
    class Follower(Group):
        def broadcast(self, value: object) -> object:
            return False

    with owned(tmp_path, Group()), owned(tmp_path, Follower(rank=1, size=2)):
        pass


def test_without_file_locks_a_living_owner_is_refused_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_how_to_lock(monkeypatch)
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for owner in (f"{os.getppid()} {host}\n", "7 another-machine\n"):
        (tmp_path / OWNER).write_text(owner)
        with pytest.raises(Conflict, match=f"process {owner.split()[0]} on .* delete {tmp_path / OWNER}"):
            owned(tmp_path, Group()).__enter__()
        assert (tmp_path / OWNER).read_text() == owner
    for owner in (f"{dead.pid} {host}\n", f"{10**30} {host}\n", "", f"{os.getpid()} {host}\n"):
        (tmp_path / OWNER).write_text(owner)
        with owned(tmp_path, Group()):
            assert (tmp_path / OWNER).read_text() == f"{os.getpid()} {host}\n"
        assert list(tmp_path.iterdir()) == []
