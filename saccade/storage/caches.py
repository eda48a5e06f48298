"""Where things are kept that can be made again: folders that only this user can write, found again each time.

The home folder may be missing, read-only or another user's, and the user may have no entry in the list of
users: so it is in containers. Then a private folder among the temporary files serves. Other packages that
keep files in the home folder are given a place in ours.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def folders() -> Iterator[Path]:
    """The folders that may hold caches, the best one first; they may not exist.

    The user's cache folder (XDG_CACHE_HOME where it is absolute, else ~/.cache), then private folders among
    the temporary files.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        yield named / "saccade"
    elif home := _home():
        yield home / ".cache" / "saccade"
    for temporary in dict.fromkeys((os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp")):
        if Path(temporary).is_absolute():
            yield Path(temporary) / f"saccade-{os.geteuid()}"


def writable_folders(*, programs: bool = False) -> Iterator[Path]:
    """Those of `folders` that only this user can write, made if need be.

    programs: those from which programs may run (no mount with the option noexec).
    """
    if os.name != "posix":
        return
    for folder in folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            usable = is_private(folder) and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
            if usable and not (programs and _forbids_programs(folder)):
                yield folder


def is_private(folder: Path) -> bool:
    """Whether nobody but this user and the system can put files there. A folder of this user is closed to
    others first.

    If the folder is a link, the link must be trusted as well.
    """
    try:
        about = folder.stat()
        if about.st_uid == os.geteuid() and about.st_mode & 0o022:
            folder.chmod(0o700)
            about = folder.stat()
        link = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and is_ours(about) and link.st_uid in {0, os.geteuid()}


def is_ours(about: os.stat_result) -> bool:
    """Whether a file is this user's or the system's, and others can't write it."""
    return about.st_uid in {0, os.geteuid()} and not about.st_mode & 0o022


def place_others() -> None:
    """Gives other packages a folder of ours, by their own variables, unless the user has set these.

    matplotlib and huggingface_hub keep files in the home folder: a new folder each time, or a folder named ~,
    where it can't be written. torch.compile runs what it finds in a folder for temporary files, which
    another user may have made. To be called before they are imported.
    """
    folder = next(writable_folders(), None)
    if folder is None:
        return
    home = _home()
    if home is None or not os.access(home, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
        if "XDG_CACHE_HOME" not in os.environ and not (home and (home / ".cache" / "huggingface").is_dir()):
            os.environ.setdefault("HF_HOME", str(folder / "huggingface"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))


def _home() -> Path | None:
    """The home folder; None if there is none, or if this is root at work in the home of another user.

    Files of root there would be in that user's way.
    """
    try:
        home = Path.home() if os.environ.get("HOME") != "" else Path()
        foreign = os.geteuid() == 0 and home.stat().st_uid != 0
    except (RuntimeError, KeyError, OSError):  # no HOME, and no entry in the list of users; not there
        return None
    return None if foreign or not home.is_absolute() or not home.is_dir() else home


def _forbids_programs(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))
