"""Where compiled kernels are kept: in folders that only this user can write, each file with its digest.

A file's name ends with the digest of its content. What was cut short by a power failure, or changed since, is
not loaded but compiled again.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def folders() -> Iterator[Path]:
    """The user's cache, if there is a home, and a private folder for temporary files; they may not exist."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        yield Path(named) / "saccade"
    else:
        with contextlib.suppress(RuntimeError, KeyError):  # no HOME, and no entry in the list of users
            yield Path.home() / ".cache" / "saccade"
    with contextlib.suppress(OSError):  # no folder for temporary files
        yield Path(tempfile.gettempdir()) / f"saccade-{os.geteuid()}"


def stored(folder: Path, key: str) -> Iterator[Path]:
    """The files for `key` that can be trusted. A damaged one is removed."""
    try:
        found = sorted(folder.glob(f"kernels-{key}-*.so")) if _private(folder) else []
    except OSError:
        return
    for file in found:
        with contextlib.suppress(OSError):
            about = file.lstat()
            if not stat.S_ISREG(about.st_mode) or not _ours(about):
                continue
            if file.stem.rpartition("-")[2] == _digest(file.read_bytes()):
                yield file
            else:
                file.unlink()


def store(folder: Path, key: str, content: bytes) -> Path:
    """Write a file for `key` that is there as a whole or not at all. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _private(folder):
        raise PermissionError(f"{folder} belongs to another user, or others may write there")
    target = folder / f"kernels-{key}-{_digest(content)}.so"
    handle, name = tempfile.mkstemp(dir=folder, prefix=".kernels-")
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
    return target


def _private(folder: Path) -> bool:
    """Whether nobody else can put files there. A folder of this user is closed to others first.

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
    return stat.S_ISDIR(about.st_mode) and _ours(about) and link.st_uid in {0, os.geteuid()}


def _ours(about: os.stat_result) -> bool:
    """Whether a file is of this user or of the system's, and others can't write it."""
    return about.st_uid in {0, os.geteuid()} and not about.st_mode & 0o022


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
