"""Caches are in a folder of this user's own that is found again, wherever the home folder is or is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from saccade.storage import caches


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "TMPDIR", "MPLCONFIGDIR", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


TEMPORARY = [Path(place) / f"saccade-{os.geteuid()}" for place in ("/tmp", "/var/tmp")]


def test_the_named_cache_folder_comes_first_then_that_of_the_home_then_temporary_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(caches.folders()) == [home / ".cache" / "saccade", *TEMPORARY]
    monkeypatch.setenv("XDG_CACHE_HOME", "/named")
    assert list(caches.folders()) == [Path("/named/saccade"), *TEMPORARY]
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    own = Path(f"/elsewhere/saccade-{os.geteuid()}")
    assert list(caches.folders()) == [Path("/named/saccade"), own, *TEMPORARY]


@pytest.mark.parametrize("relative", ["", "cache", "./cache", "~/cache"])
def test_a_relative_folder_is_never_one_of_the_current_folder(
    home: Path, relative: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, relative)
    assert list(caches.folders()) == [home / ".cache" / "saccade", *TEMPORARY]
    monkeypatch.setenv("HOME", relative)
    assert list(caches.folders()) == TEMPORARY


def test_without_a_home_there_are_temporary_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "not-there"))
    assert list(caches.folders()) == TEMPORARY
    monkeypatch.setenv("HOME", str(home))
    (home / "file").touch()
    monkeypatch.setenv("HOME", str(home / "file"))
    assert list(caches.folders()) == TEMPORARY

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert list(caches.folders()) == TEMPORARY


def test_root_leaves_nothing_in_the_home_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    else:
        os.chown(home, 12345, -1)
    assert home / ".cache" / "saccade" not in list(caches.folders())


def test_a_folder_is_made_private_and_found_again(home: Path) -> None:
    folder = next(caches.writable_folders(programs=True))
    assert folder == home / ".cache" / "saccade"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert next(caches.writable_folders()) == folder
    folder.chmod(0o777)
    assert next(caches.writable_folders()) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_another_user_has_planted_is_passed_over(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    planted = tmp_path / f"saccade-{os.geteuid()}"
    planted.mkdir()
    assert next(caches.writable_folders()) == planted
    if os.geteuid() == 0:
        os.chown(planted, 12345, -1)
    else:
        planted.rename(tmp_path / "mine")
        planted.symlink_to("/root")
    assert planted not in list(caches.writable_folders())


def test_what_can_not_be_a_folder_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".cache").touch()
    assert home / ".cache" / "saccade" not in list(caches.writable_folders())


def test_a_mount_from_which_no_programs_run_is_passed_over_for_programs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = home / ".cache" / "saccade"
    monkeypatch.setattr(os, "ST_NOEXEC", 8, raising=False)
    monkeypatch.setattr(
        os, "statvfs", lambda folder: SimpleNamespace(f_flag=8 if Path(folder) == ours else 0)
    )
    assert next(caches.writable_folders()) == ours
    assert ours not in list(caches.writable_folders(programs=True))


def test_other_packages_keep_their_places_in_a_home_that_works(home: Path) -> None:
    caches.place_others()
    assert "MPLCONFIGDIR" not in os.environ
    assert "HF_HOME" not in os.environ
    # torch would run what another user has put into /tmp.
    assert os.environ.pop("TORCHINDUCTOR_CACHE_DIR") == str(home / ".cache" / "saccade" / "inductor")


def test_without_a_home_other_packages_are_given_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HF_HOME", "/chosen")
    caches.place_others()
    ours = tmp_path / f"saccade-{os.geteuid()}"
    assert os.environ["MPLCONFIGDIR"] == str(ours / "matplotlib")
    assert os.environ["HF_HOME"] == "/chosen"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(ours / "inductor")
