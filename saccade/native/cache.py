"""Compiled kernels in a folder for caches, each file with its digest.

A file's name ends with the digest of its content. What was cut short by a power failure, or changed since, is
not loaded but compiled again.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from saccade.storage.caches import is_ours, is_private

_REMEMBERED = 3600.0
"""Seconds for which a compiler that hangs is not tried again."""


def stored(folder: Path, key: str) -> Iterator[Path]:
    """The files for `key` that can be trusted. A damaged one is removed."""
    try:
        found = sorted(folder.glob(f"kernels-{key}-*.so")) if is_private(folder) else []
    except OSError:
        return
    for file in found:
        with contextlib.suppress(OSError):
            about = file.lstat()
            if not stat.S_ISREG(about.st_mode) or not is_ours(about):
                continue
            if file.stem.rpartition("-")[2] == _digest(file.read_bytes()):
                yield file
            else:
                file.unlink()


def store(folder: Path, key: str, content: bytes) -> Path:
    """Writes a file for `key` that is there as a whole or not at all. Raises OSError."""
    target = folder / f"kernels-{key}-{_digest(content)}.so"
    _write(target, content)
    return target


def has_room(folder: Path) -> bool:
    """Whether kernels, and what comes up while they are compiled, can be written there: about 4 MB."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\1" * (4 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def remember(folder: Path, key: str, failure: str) -> None:
    """Notes a failure that would take long to find out again."""
    with contextlib.suppress(OSError):
        _write(folder / f"failed-{key}", failure.encode())


def remembered(folder: Path, key: str) -> str | None:
    """The failure that was noted within the last hour; None if there is none."""
    file = folder / f"failed-{key}"
    try:
        about = file.lstat()
        recent = 0 <= time.time() - about.st_mtime < _REMEMBERED
        trusted = stat.S_ISREG(about.st_mode) and is_ours(about) and is_private(folder)
        return file.read_text(encoding="utf-8", errors="replace") if recent and trusted else None
    except OSError:
        return None


@contextlib.contextmanager
def claimed(folder: Path, *, patience: float) -> Iterator[bool]:
    """Lets one process at a time into the block; yields False where another stayed in it for too long.

    The claim ends with its process, however that ends. What processes that were killed in the block left in
    the folder is removed.
    """
    import fcntl  # not on every system; those without it have no compiled kernels

    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if _locked(handle, patience=patience):
            for left in folder.glob(".kernels-*"):
                with contextlib.suppress(OSError):
                    left.unlink()
            for left in folder.glob(".build-*"):
                shutil.rmtree(left, ignore_errors=True)
            try:
                yield True
            finally:
                with contextlib.suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may hold the file open
        else:
            yield False
    finally:
        os.close(handle)


def _locked(handle: int, *, patience: float) -> bool:
    import fcntl

    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        except OSError:  # a file system without locks: several processes may compile the same
            return True


def _write(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".kernels-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Several processes may store the same at once: the last one wins.
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
