"""Files: links, pipes, devices and descriptors as outputs, permissions, failures, and killed processes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from saccade.errors import Conflict, StorageError
from saccade.storage import leftovers
from saccade.storage.files import check_writable, replace_file, write_text
from saccade.storage.folders import replace_folder, require_empty
from saccade.storage.leftovers import make_partial, partial_folder, remove_leftovers_in


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_after(content: bytes, path: Path, **options: Any) -> None:
    with contextlib.suppress(KeyError), replace_file(path, **options) as stream:
        stream.write(content)
        raise KeyError


# --- plain files and links -----------------------------------------------------------------------


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("links", [["link"], ["first", "link"], ["absolute"]])
def test_links_stay_and_the_file_that_they_name_is_written(
    tmp_path: Path, existing: bool, links: list[str]
) -> None:
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    if existing:
        real.write_text("old")
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "first").symlink_to("link")
    (tmp_path / "absolute").symlink_to(real)
    path = tmp_path / links[0]
    check_writable(path)
    assert real.exists() == existing, "a check changes nothing"
    write_text(path, "new")
    assert path.is_symlink() and (tmp_path / "link").is_symlink()
    assert real.read_text() == "new" and not real.is_symlink()
    assert names(tmp_path / "there") == ["real"]


def test_a_file_is_replaced_at_the_end_and_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    with replace_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
        [partial] = tmp_path.glob(".out.partial-*")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600, "nobody else reads it in the meantime"
    after = path.stat()
    assert path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_new_file_has_the_mode_that_every_program_gives_it(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    fail_after(b"new", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_was_done_can_be_kept_but_never_in_place_of_another_file(tmp_path: Path) -> None:
    kept: list[Path] = []
    for content in (b"", b"first", b"second"):
        fail_after(content, tmp_path / "out", kept=kept.append)
    assert [path.read_bytes() for path in kept] == [b"first", b"second"]
    assert names(tmp_path) == [kept[1].name, "out.partial"]
    assert kept[0] == tmp_path / "out.partial"


def test_long_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    write_text(path, "text")
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM])
def test_a_file_that_cannot_be_renamed_over_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As a single file that is mounted into a container."""

    def busy(self: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", busy)
    (tmp_path / "out").write_text("an older text that is longer")
    inode = (tmp_path / "out").stat().st_ino
    write_text(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"
    assert (tmp_path / "out").stat().st_ino == inode
    assert names(tmp_path) == ["out"]
    with pytest.raises(StorageError, match="cannot write"):
        write_text(tmp_path / "other", "new")
    assert names(tmp_path) == ["out"]


def test_a_file_beside_which_nothing_may_be_written_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(place: Path, make: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("saccade.storage.files.make_partial", closed)
    (tmp_path / "out").write_text("old")
    fail_after(b"new", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "old"
    write_text(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"
    with pytest.raises(StorageError, match="other: cannot write"):
        check_writable(tmp_path / "other")


# --- everything else -----------------------------------------------------------------------------


def test_open_descriptors_are_written_through(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before ")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    (tmp_path / "link").symlink_to(f"/dev/fd/{handle}")
    for name in (f"/dev/fd/{handle}", f"/proc/self/fd/{handle}", tmp_path / "link"):
        check_writable(Path(name))
        write_text(Path(name), f"{Path(name).parent.name} ")
    os.close(handle)
    assert path.read_text() == f"before fd fd {tmp_path.name} "
    assert (tmp_path / "link").is_symlink()


def test_descriptors_that_are_closed_or_only_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("text")
    handle = os.open(tmp_path / "in", os.O_RDONLY)
    with pytest.raises(StorageError, match=f"/dev/fd/{handle}: cannot write: not open for writing"):
        check_writable(Path(f"/dev/fd/{handle}"))
    os.close(handle)
    with pytest.raises(StorageError, match="Bad file descriptor"):
        check_writable(Path(f"/dev/fd/{handle}"))
    assert (tmp_path / "in").read_text() == "text"


def test_a_socket_that_is_open_is_written_and_one_in_the_file_system_is_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        write_text(Path(f"/proc/self/fd/{ours.fileno()}"), "text")
        assert theirs.recv(9) == b"text"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(StorageError, match="a socket"):
            check_writable(tmp_path / "s")
        assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)


def test_a_pipe_is_written_to_its_reader_and_a_check_does_not_wait_for_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join()
    assert read == ["text"]
    assert pipe.is_fifo() and names(tmp_path) == ["pipe"]


def test_a_pipe_whose_reader_is_gone_is_a_broken_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        write_text(Path(f"/dev/fd/{writing}"), "text")
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_devices_are_written_and_stay(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    for path in (Path("/dev/full"), tmp_path / "full"):
        with pytest.raises(StorageError, match=f"{path}: cannot write: the disk is full"):
            write_text(path, "text")
    write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device() and Path("/dev/full").is_char_device()


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for name in ("", ".", "no/out", "loop", "file/out", "x" * 256):
        with pytest.raises(StorageError, match="cannot write"):
            check_writable(tmp_path / name)
    with pytest.raises(StorageError, match="cannot write"):
        check_writable(Path("/proc/nothing"))
    assert names(tmp_path) == ["file", "loop"]


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_keeps_the_mode_of_the_one_that_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir(mode=0o700)
    with replace_folder(tmp_path / "model") as new:
        (new / "file").touch()
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o700
    assert (tmp_path / "model" / "file").exists() and names(tmp_path) == ["model"]


def test_an_empty_folder_that_cannot_be_moved_gets_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder that is mounted into a container."""
    out = tmp_path / "out"
    out.mkdir()
    inode = out.stat().st_ino
    monkeypatch.setattr(Path, "is_mount", lambda self: self == out)
    require_empty(out)
    with contextlib.suppress(KeyError), replace_folder(out) as new:
        (new / "half").touch()
        raise KeyError
    require_empty(out)
    with replace_folder(out) as new:
        (new / "file").write_text("text")
    assert out.stat().st_ino == inode
    assert (names(out), (out / "file").read_text(), names(tmp_path)) == (["file"], "text", ["out"])


def test_a_folder_that_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "out", Path("/proc/nothing/out"), tmp_path / ("x" * 256)):
        with pytest.raises(StorageError, match="cannot write"):
            require_empty(folder)
    with pytest.raises(Conflict):
        require_empty(Path("/dev/null"))
    require_empty(tmp_path / "a" / "b")
    assert names(tmp_path) == ["file"]


# --- what killed processes leave -----------------------------------------------------------------


def killed(work: str, folder: Path) -> int:
    """The number of a process that was killed in the middle of `work`."""
    code = f"import os, sys, pathlib\nfolder = pathlib.Path(sys.argv[1])\n{work}\nos.kill(os.getpid(), 9)"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[1])
    assert process.wait(timeout=60) == -9
    return process.pid


INTERRUPTED = """
from saccade.storage.files import replace_file
from saccade.storage.leftovers import partial_folder
file = replace_file(folder / "out"); file.__enter__().write(b"half")
data = partial_folder(folder / "train"); (data.__enter__() / "half").touch()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    number = killed(INTERRUPTED, tmp_path)
    left = [f".out.partial-{number}", f".train.partial-{number}"]
    assert names(tmp_path) == left
    write_text(tmp_path / "other", "")
    assert names(tmp_path) == [*left, "other"], "it belongs to another output"
    write_text(tmp_path / "out", "new")
    with partial_folder(tmp_path / "train"):
        pass
    assert names(tmp_path) == ["other", "out"]
    (tmp_path / f"valid.source.partial-{number}").touch()
    (tmp_path / f".sampled-1-2.partial-{number}").mkdir()
    remove_leftovers_in(tmp_path)
    assert names(tmp_path) == ["other", "out"]


def test_partial_files_of_living_processes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = killed("", tmp_path)
    (tmp_path / f".out.partial-{os.getppid()}").touch()  # alive
    (tmp_path / f".out.partial-{number}").touch()  # dead here, but another machine's process holds it
    (tmp_path / ".out.partial-x").touch()
    (tmp_path / f"out.partial-{number}").touch()  # not a name of ours
    (tmp_path / "elsewhere").touch()
    (tmp_path / f".out.{'0' * 8}.partial-{number}").symlink_to("elsewhere")
    before = names(tmp_path)
    with (tmp_path / f".out.partial-{number}").open("w") as other:
        assert leftovers.hold(other.fileno())
        write_text(tmp_path / "out", "new")
    assert names(tmp_path) == sorted([*before, "out"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4_000_000)
        write_text(tmp_path / "out", "of another user")
    assert names(tmp_path) == sorted([*before, "out"])
    write_text(tmp_path / "out", "new")
    before.remove(f".out.partial-{number}")
    assert names(tmp_path) == sorted([*before, "out"])


def test_two_threads_can_write_the_same_file(tmp_path: Path) -> None:
    with replace_file(tmp_path / "out") as first, replace_file(tmp_path / "out") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "out").read_text() == "first", "the one that ended last"
    assert names(tmp_path) == ["out"]


def test_a_partial_name_that_is_taken_is_not_used(tmp_path: Path) -> None:
    first, _ = make_partial(tmp_path / "out", Path.mkdir)
    second, _ = make_partial(tmp_path / "out", Path.mkdir)
    assert first != second and first.is_dir() and second.is_dir()
