from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from saccade.native import cache

CONTENT = b"kernels " * 10_000


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_was_stored_is_found_again_by_its_key_alone(tmp_path: Path) -> None:
    folder = tmp_path / "saccade"
    file = cache.store(folder, "one", CONTENT)
    assert file.read_bytes() == CONTENT
    assert list(cache.stored(folder, "one")) == [file]
    assert list(cache.stored(folder, "other")) == []
    assert list(cache.stored(tmp_path / "nowhere", "one")) == []
    assert files(folder) == [file.name]
    assert cache.store(folder, "one", CONTENT) == file
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


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
    cache.store(folder, "one", CONTENT)
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
    with pytest.raises(PermissionError, match="belongs to another user"):
        cache.store(tmp_path, "one", CONTENT)


def test_there_is_a_folder_without_a_home_and_without_an_entry_in_the_list_of_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    temporary = tmp_path / f"saccade-{os.geteuid()}"
    assert list(cache.folders()) == [Path.home() / ".cache" / "saccade", temporary]
    monkeypatch.setattr(Path, "home", nobody)
    assert list(cache.folders()) == [temporary]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "named"))
    assert list(cache.folders()) == [tmp_path / "named" / "saccade", temporary]


def test_what_could_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cache.store(tmp_path, "one", CONTENT)
    assert files(tmp_path) == []
