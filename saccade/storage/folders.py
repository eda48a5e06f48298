"""Folders that are written atomically and never overwrite other files."""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from saccade.errors import Conflict, StorageError, UserError
from saccade.storage.leftovers import make_partial, partial_folder, remove_leftovers_of

Read = TypeVar("Read")

_PATIENCE = 60.0
"""Seconds for which a folder that is replaced again and again is read again."""


def require_empty(folder: Path) -> None:
    """Raises UserError if `folder` exists and is not empty, so that existing files are never overwritten.

    It also raises one if `replace_folder` could not write there, which is better known before long work.
    """
    place = folder.resolve()
    try:
        if place.is_dir():
            remove_leftovers_of(_inside(place))
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise Conflict(f"{folder}: exists and is not an empty folder.", topic="out")
        made = _inside(place) if _is_fixed(place) else place
        home = next(one for one in made.parents if one.exists())
        make_partial(home / made.name, Path.mkdir)[0].rmdir()
    except OSError as error:
        raise disk_error(folder, error) from error


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Yields a new folder that only this user can read, and removes it.

    Raises UserError if there is no place for it.
    """
    try:
        made = tempfile.mkdtemp(prefix=f"saccade-{purpose}-")
    except OSError as error:
        raise StorageError(
            f"no folder for temporary files can be written ({error}). Name one in TMPDIR."
        ) from error
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder, then puts it in the place of `folder`; a crash leaves the old or the new one.

    Not every system can replace a directory in one step, so the old one is moved aside first; `settle_folder`
    undoes this if the process ends in between. An empty folder that cannot be moved itself, because it is
    mounted or nothing may be written beside it, gets the files one by one.
    """
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder}: a file is in the way of this folder. Choose another name or move it.")
    place, old = folder.resolve(), beside(folder, "old")
    try:
        settle_folder(place)
        fixed = _is_fixed(place)
        with partial_folder(_inside(place) if fixed else place) as new:
            yield new
            _flush(new)
            if fixed:
                for path in sorted(new.iterdir()):
                    path.rename(place / path.name)
                return
            if place.exists():
                _keep_access(place, new)
                place.rename(old)
            new.rename(place)
        _flush_entry(place.parent)
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        # Undoes a failed replacement, or removes the old folder after a successful one.
        settle_folder(place)


def read_whole(find: Callable[[], Path], read: Callable[[Path], Read]) -> Read:
    """Reads a folder that another process may be replacing; the result is that of the old or of the new one.

    find: finds the folder, and is called again after a replacement. read: opens all files that it needs. If
    the folder is no longer in its place afterwards, a result or an error may come from a mixture of both, and
    the folder is read again.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        folder = find()
        with _held(folder) as opened:
            if opened is None and time.monotonic() < end:
                continue  # it has just been replaced
            try:
                result = read(folder)
            except Exception:
                if time.monotonic() > end or _identity_of(find) == opened:
                    raise
                continue
            if _identity(folder) == opened:
                return result
        if time.monotonic() > end:
            raise Conflict(f"{folder}: is being replaced all the time; try again later.")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[tuple[int, int] | None]:
    """The identity of a folder, which no other folder can take over within the block; None if it is gone."""
    try:
        # An open folder keeps its number even after it is deleted.
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    except OSError:  # Windows opens no folders
        yield _identity(folder)
        return
    try:
        status = os.fstat(descriptor)
        yield status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _identity_of(find: Callable[[], Path]) -> tuple[int, int] | None:
    try:
        return _identity(find())
    except UserError:
        return None


def settle_folder(folder: Path) -> None:
    """Finishes an interrupted replacement: brings the old folder back if the new one is not in place yet."""
    old = beside(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder.resolve())
    shutil.rmtree(old, ignore_errors=True)


def _is_fixed(place: Path) -> bool:
    """Whether it is an empty folder that cannot be moved."""
    if not place.is_dir() or any(place.iterdir()):
        return False
    return place.is_mount() or not os.access(place.parent, os.W_OK | os.X_OK)


def _inside(place: Path) -> Path:
    return place / "new"


def _keep_access(old: Path, new: Path) -> None:
    """Gives a new folder the permissions of the one that it replaces and, if this is allowed, its owner."""
    about = old.stat()
    with contextlib.suppress(OSError):
        os.chown(new, about.st_uid, about.st_gid)
    new.chmod(about.st_mode & 0o777)


def disk_error(path: Path, error: OSError) -> StorageError:
    """The error for a failed write, which has left older files untouched."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
    reason, advice = (
        ("the disk is full", "free some space") if full else (error.strerror or str(error), "correct this")
    )
    return StorageError(f"{path}: cannot write: {reason}. Existing files are kept; {advice} and try again.")


def beside(folder: Path, suffix: str) -> Path:
    """The sibling of `folder` that `replace_folder` uses, even if `folder` is "." or a symbolic link."""
    folder = folder.resolve()
    return folder.parent / f".{folder.name}.{suffix}"


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        _flush_entry(path)
    _flush_entry(folder)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
