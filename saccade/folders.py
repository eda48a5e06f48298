"""Folders that are written atomically and never overwrite other files."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from saccade.errors import Conflict, StorageError


def require_empty(folder: Path) -> None:
    """Raises UserError if `folder` exists and is not empty, so that existing files are never overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder}: exists and is not an empty folder.", topic="out")


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
    undoes this if the process ends in between.
    """
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder}: a file is in the way of this folder. Choose another name or move it.")
    place, new, old = folder.resolve(), beside(folder, "new"), beside(folder, "old")
    try:
        settle_folder(place)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        yield new
        _flush(new)
        if place.exists():
            place.rename(old)
        new.rename(place)
        _flush_entry(place.parent)
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        # Undoes a failed replacement, or removes the old folder after a successful one.
        settle_folder(place)
        shutil.rmtree(new, ignore_errors=True)


def settle_folder(folder: Path) -> None:
    """Finishes an interrupted replacement: brings the old folder back if the new one is not in place yet."""
    old = beside(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder.resolve())
    shutil.rmtree(old, ignore_errors=True)


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
