"""Folders that are written whole or not at all, and never over somebody's files."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from saccade.errors import Conflict, StorageError


def require_empty(folder: Path) -> None:
    """UserError where `folder` exists and holds something: nobody's files are ever overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder}: exists and is not an empty folder.", topic="out")


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Fills a new folder, then put it in the place of `folder`: a crash leaves the old one or the new.

    A directory can't replace another in one step everywhere, so the old one is moved aside first;
    `settle_folder` undoes that if we die in between.
    """
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder}: a file is in the way of this folder. Choose another name, or move it.")
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
        # A failure is undone; after success this removes the old folder.
        settle_folder(place)
        shutil.rmtree(new, ignore_errors=True)


def settle_folder(folder: Path) -> None:
    """Finishes an interrupted replacement: brings the old folder back if the new one is not in place yet."""
    old = beside(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder.resolve())
    shutil.rmtree(old, ignore_errors=True)


def disk_error(path: Path, error: OSError) -> StorageError:
    """A failed write in the user's words; what was there before is untouched."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
    reason, advice = (
        ("the disk is full", "make room") if full else (error.strerror or str(error), "correct that")
    )
    return StorageError(
        f"{path}: cannot write: {reason}. What was there before is kept; {advice} and try again."
    )


def beside(folder: Path, suffix: str) -> Path:
    """Where `replace_folder` keeps what will be or was `folder`, also when that is "." or a symbolic link."""
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
