"""Partial files and folders, and the removal of those that a killed process left behind.

What is being written bears the name `.NAME.partial-PID` beside its place. Its process holds a lock on it. The
lock ends with the process, also where another machine or container gives out the same process numbers.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

_LONGEST_NAME = 200  # bytes; file systems allow 255, and the name gets longer
_ANY = re.compile(r".*\.partial-(\d+)", re.ASCII | re.DOTALL)

Made = TypeVar("Made")


def make_partial(place: Path, make: Callable[[Path], Made]) -> tuple[Path, Made]:
    """Calls `make` with the name of what will be renamed to `place`; returns the name and its result.

    `make` raises FileExistsError where something has this name; it is then called with another one.
    """
    name, end = _short(place.name), f".partial-{os.getpid()}"
    try:
        path = place.with_name(f".{name}{end}")
        return path, make(path)
    except FileExistsError:  # another thread writes the same, or a container with the same number
        path = place.with_name(f".{name}.{secrets.token_hex(4)}{end}")
        return path, make(path)


@contextlib.contextmanager
def partial_folder(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, to be renamed when it is complete; it is removed unless it was."""
    remove_leftovers_of(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder, _ = make_partial(place, Path.mkdir)
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle)
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def hold(handle: int) -> bool:
    """Locks an open file or folder until it is closed; False if another process holds it, or it cannot be."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_leftovers_of(place: Path) -> None:
    """Removes what killed processes left of their attempts to write `place`."""
    name = re.escape(_short(place.name))
    _remove(place.parent, re.compile(rf"\.{name}(?:\.[0-9a-f]{{8}})?\.partial-(\d+)", re.ASCII))


def remove_leftovers_in(folder: Path) -> None:
    """Removes what killed processes left in a folder of ours, whatever it was to become."""
    _remove(folder, _ANY)


def _short(name: str) -> str:
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()


def _remove(folder: Path, names: re.Pattern[str]) -> None:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = names.fullmatch(path.name)
            if found and not _lives(int(found[1])) and _abandoned(path):
                _delete(path)


def _abandoned(path: Path) -> bool:
    """Whether it is this user's and nobody holds it; False where that is not certain."""
    try:
        about = path.lstat()
        plain = stat.S_ISREG(about.st_mode)
        if about.st_uid != os.geteuid() or not (plain or stat.S_ISDIR(about.st_mode)):
            return False
        handle = os.open(path, (os.O_RDWR if plain else os.O_RDONLY) | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return hold(handle)
    finally:
        os.close(handle)


def _lives(process: int) -> bool:
    """Whether another process with this number exists. Of our own number, the lock decides."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
