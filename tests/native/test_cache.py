from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from saccade.native import cache

CONTENT = b"kernels " * 10_000


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_was_stored_is_found_again_by_its_key_alone(tmp_path: Path) -> None:
    folder = tmp_path / "saccade"
    folder.mkdir()
    file = cache.store(folder, "one", CONTENT)
    assert file.read_bytes() == CONTENT
    assert list(cache.stored(folder, "one")) == [file]
    assert list(cache.stored(folder, "other")) == []
    assert list(cache.stored(tmp_path / "nowhere", "one")) == []
    assert files(folder) == [file.name]
    assert cache.store(folder, "one", CONTENT) == file


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "longer"])
def test_a_damaged_file_is_removed_and_not_given(tmp_path: Path, damage: str) -> None:
    file = cache.store(tmp_path, "one", CONTENT)
    flipped = bytearray(CONTENT)
    flipped[777] ^= 1
    damaged = {"cut": CONTENT[:4096], "flipped": bytes(flipped), "emptied": b"", "longer": CONTENT + b"\0"}
    file.write_bytes(damaged[damage])
    assert list(cache.stored(tmp_path, "one")) == []
    assert files(tmp_path) == []


def test_a_file_that_others_may_write_or_that_is_a_link_is_not_given(tmp_path: Path) -> None:
    file = cache.store(tmp_path, "one", CONTENT)
    file.chmod(0o666)
    assert list(cache.stored(tmp_path, "one")) == []
    file.chmod(0o600)
    assert list(cache.stored(tmp_path, "one")) == [file]
    moved = file.rename(tmp_path / "elsewhere")
    file.symlink_to(moved)
    assert list(cache.stored(tmp_path, "one")) == []


def test_a_folder_of_this_user_is_closed_to_others_first(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    file = cache.store(folder, "one", CONTENT)
    assert list(cache.stored(folder, "one")) == [file]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_files_and_folders_of_another_user_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cache.store(tmp_path, "one", CONTENT)
    owner = file.stat().st_uid
    if owner == 0:
        os.chown(file, 12345, -1)
        assert list(cache.stored(tmp_path, "one")) == []
        os.chown(file, 0, -1)
        os.chown(tmp_path, 12345, -1)
    else:  # the same, seen by another user
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert list(cache.stored(tmp_path, "one")) == []


def test_what_could_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cache.store(tmp_path, "one", CONTENT)
    assert files(tmp_path) == []


def test_a_folder_without_room_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.has_room(tmp_path)
    assert files(tmp_path) == []

    def full(_: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(cache.os, "fsync", full)
    assert not cache.has_room(tmp_path)
    assert files(tmp_path) == []
    assert not cache.has_room(tmp_path / "nowhere")


def test_a_failure_is_remembered_for_an_hour(tmp_path: Path) -> None:
    assert cache.remembered(tmp_path, "one") is None
    cache.remember(tmp_path, "one", "cc was still running")
    assert cache.remembered(tmp_path, "one") == "cc was still running"
    assert cache.remembered(tmp_path, "other") is None
    (file,) = tmp_path.iterdir()
    for age in (3700, -3700):  # the clock may have been wrong
        os.utime(file, (time.time() - age,) * 2)
        assert cache.remembered(tmp_path, "one") is None
    cache.remember(tmp_path / "nowhere", "one", "nothing to be done")


def test_a_claim_waits_for_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    """Leftovers of a holder that was killed are removed by the next one."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    (tmp_path / ".build-left").mkdir()
    (tmp_path / ".kernels-left").touch()
    with cache.claimed(tmp_path, patience=0.3) as alone:
        assert not alone
    assert files(tmp_path) == [".build-left", ".kernels-left", ".lock"]
    holder.kill()
    holder.communicate()
    for _ in range(2):
        with cache.claimed(tmp_path, patience=20.0) as alone:
            assert alone
            assert files(tmp_path) == [".lock"]


HOLD = """
import sys, time
from pathlib import Path
from saccade.native import cache
with cache.claimed(Path(sys.argv[1]), patience=0.0):
    print("held", flush=True)
    time.sleep(300)
"""
