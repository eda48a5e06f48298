"""The lock on a run folder: one process trains in it at a time. Readers need no lock."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from saccade.errors import Conflict
from saccade.storage.folders import disk_error
from saccade.training.distributed import Group

LOCK, OWNER = ".lock", ".owner"
"""Files of the lock inside the run folder. The second one is used on file systems that cannot lock files."""

_ATTEMPTS = 100
_CANNOT_LOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EINVAL}


@contextlib.contextmanager
def owned(run: Path, group: Group) -> Iterator[None]:
    """Keeps other processes from training in `run` within the block; the folder is made if it is missing.

    The leader holds the lock, and the system releases it when the leader dies, however that happens. Folders
    that were made and stayed empty are removed. Raises UserError if another process holds the lock.
    """
    with contextlib.ExitStack() as stack:
        group.lead(lambda: stack.enter_context(_made_and_locked(run)))
        yield


def is_empty(run: Path) -> bool:
    """Whether a folder holds nothing but a lock."""
    return all(path.name in (LOCK, OWNER) for path in run.iterdir())


@contextlib.contextmanager
def _made_and_locked(run: Path) -> Iterator[None]:
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        release = _taken(run)
    except OSError as error:
        raise disk_error(run, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            release()
        with contextlib.suppress(OSError):  # something has been put there
            for folder in made:
                folder.rmdir()


def _taken(run: Path) -> Callable[[], None]:
    """Takes the lock; returns the function that releases it."""
    path = run / LOCK
    for _ in range(_ATTEMPTS):
        run.resolve().mkdir(parents=True, exist_ok=True)  # also if it is a link to a folder to be made
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            _lock(descriptor)
            if _is_still(path, descriptor):
                with contextlib.suppress(OSError):  # it only serves the message to others
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, _ourselves().encode())
                return lambda: _release(path, descriptor)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            raise _in_use(run, owner) from None
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _CANNOT_LOCK:
                raise
            return _taken_by_name(run)
        os.close(descriptor)  # its last owner has removed the file meanwhile
    raise _in_use(run, "")


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise OSError(errno.ENOSYS, "no locks here") from error
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(path: Path, descriptor: int) -> None:
    try:
        path.unlink()  # while it is locked, so that nobody else can have taken it
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _taken_by_name(run: Path) -> Callable[[], None]:
    """The lock of a file system that cannot lock files: whoever makes the file owns the run."""
    path = run / OWNER
    for _ in range(_ATTEMPTS):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(_ourselves())
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                owner = path.read_text(encoding="utf-8", errors="replace")
                if _lives(owner):
                    raise _in_use(run, owner, file=path) from None
                path.unlink()
            continue
        return lambda: _remove(path, run / LOCK)
    raise _in_use(run, "", file=path)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _ourselves() -> str:
    return f"{os.getpid()} {socket.gethostname()}\n"


def _lives(owner: str) -> bool:
    """Whether the owner of a lock may be alive; one on another machine may be."""
    number, _, host = owner.strip().partition(" ")
    if not number.isdecimal() or host != socket.gethostname():
        return bool(owner.strip())
    if int(number) == os.getpid():  # a container gives its processes the same numbers again
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _in_use(run: Path, owner: str, *, file: Path | None = None) -> Conflict:
    number, _, host = owner.strip().partition(" ")
    who = f"process {number} on {host}" if number.isdecimal() and host else "another process"
    advice = f" If it no longer runs, delete {file}." if file is not None else ""
    return Conflict(f"{run}: {who} is training this run; wait until it ends, or stop it.{advice}")
