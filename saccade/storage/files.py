"""Files that appear under their names only when they are complete, wherever a path leads.

Links are followed, so that a link stays one. A plain file is written beside its place and renamed at the end;
it keeps owner and permissions of the file that it replaces. Pipes, devices and open descriptors (/dev/stdout,
/dev/fd/3) are written through and never replaced.
"""

import contextlib
import errno
import fcntl
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from saccade.errors import StorageError
from saccade.storage.folders import disk_error
from saccade.storage.leftovers import hold, make_partial, remove_leftovers_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MOST_LINKS = 40
_OWN_DESCRIPTORS = "/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"
_DESCRIPTORS = re.compile(r"/proc/\d+(/task/\d+)?/fd")
_NO_NEIGHBOUR = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


@contextlib.contextmanager
def replace_file(path: Path, *, kept: Callable[[Path], None] | None = None) -> Iterator[BinaryIO]:
    """Yields a stream; what was written to it is in `path` after the block, or nothing after an exception.

    kept: after an exception, what was written stays in NAME.partial, and `kept` is called with this path.
    Raises StorageError if the file cannot be written, and BrokenPipeError for a pipe without a reader.
    """
    with _storage_errors(path):
        target = _open(path)
    try:
        with io.BufferedWriter(target.raw) as stream:
            yield cast(BinaryIO, stream)
            stream.flush()
            with _storage_errors(path):
                target.finish()
    except BaseException:
        if kept is not None and (partial := target.keep()) is not None:
            kept(partial)
        raise
    finally:
        target.clear()


def write_whole(file: io.FileIO, content: bytes) -> None:
    """Writes all of `content` to a file that has no buffer, or raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def write_text(path: Path, text: str) -> None:
    """Writes a text file as `replace_file` does."""
    with replace_file(path) as stream:
        stream.write(text.encode("utf-8"))


def check_writable(path: Path) -> None:
    """Raises StorageError if `replace_file` could not write to `path`. Nothing is changed."""
    with _storage_errors(path):
        place = _place(path)
        if isinstance(place, Path) and _is_special(place):
            if not os.access(place, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            return  # to open a pipe would be to wait for its reader
        target = _open(path)
    target.raw.close()
    target.clear()


class _Raw(io.FileIO):
    """A file whose failed writes are StorageErrors that name it."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "w")
        self._path = path

    def write(self, data: "ReadableBuffer", /) -> int:
        with _storage_errors(self._path):
            return super().write(data)


@dataclass
class _Target:
    """An open file. partial: what becomes `place` when it is complete; None if it is written through."""

    raw: _Raw
    partial: Path | None = None
    place: Path = Path()
    beside: bool = False

    def finish(self) -> None:
        """Puts the complete file in its place."""
        if self.partial is None:
            return
        try:
            os.fsync(self.raw.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        if not (self.beside and self._rename(self.partial)):
            self._copy(self.partial)
            self.partial.unlink(missing_ok=True)
        self.partial = None

    def keep(self) -> Path | None:
        """Leaves the partial file to the user and returns its path; None if there is nothing in it."""
        partial, self.partial = self.partial, None
        if partial is None or not partial.stat().st_size:
            self.partial = partial
            return None
        named = self.place.with_name(f"{self.place.name}.partial")
        if not self.beside or os.path.lexists(named):  # it may be another file of the user's
            return partial
        return partial.rename(named)

    def clear(self) -> None:
        """Removes the partial file."""
        if self.partial is not None:
            self.partial.unlink(missing_ok=True)

    def _rename(self, partial: Path) -> bool:
        """Whether it could be renamed. A file that is mounted, or in /tmp and another user's, cannot."""
        with contextlib.suppress(FileNotFoundError):
            old = self.place.stat()
            with contextlib.suppress(OSError):  # only the superuser may give files away
                os.fchown(self.raw.fileno(), old.st_uid, old.st_gid)
            os.fchmod(self.raw.fileno(), stat.S_IMODE(old.st_mode) & 0o777)
        try:
            partial.replace(self.place)
        except OSError:
            if not self.place.exists():
                raise
            return False
        return True

    def _copy(self, partial: Path) -> None:
        try:
            with partial.open("rb") as source, self.place.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        except OSError as error:
            self.partial = None
            raise StorageError(
                f"{self.place}: only a part could be written: {error.strerror or error}. All of it is in "
                f"{partial}."
            ) from error


def _open(path: Path) -> _Target:
    place = _place(path)
    if isinstance(place, int):
        if fcntl.fcntl(place, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "not open for writing")
        return _Target(_Raw(os.dup(place), path))
    if _is_special(place):
        return _Target(_Raw(os.open(place, os.O_WRONLY | os.O_TRUNC | os.O_NOCTTY | os.O_CLOEXEC), path))
    exists = place.exists()
    if exists:
        os.close(os.open(place, os.O_WRONLY | os.O_CLOEXEC))  # raises if the file must not be written

    def create(partial: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(partial, flags, 0o600 if exists else 0o666)

    try:
        remove_leftovers_of(place)
        partial, handle = make_partial(place, create)
    except OSError as error:
        if not exists or error.errno not in _NO_NEIGHBOUR:
            raise
        handle, name = tempfile.mkstemp(prefix="saccade-")
        return _Target(_Raw(handle, path), Path(name), place)
    hold(handle)
    return _Target(_Raw(handle, path), partial, place, beside=True)


def _place(path: Path) -> Path | int:
    """The path that links end at, or the number of a descriptor that this process has open."""
    if path.is_dir():
        raise OSError(errno.EISDIR, "a folder is there")
    own = {os.path.realpath(folder) for folder in _OWN_DESCRIPTORS}
    for _ in range(_MOST_LINKS):
        place = Path(os.path.realpath(path.parent), path.name)
        if str(place.parent) in own and place.name.isdecimal():
            return int(place.name)
        if _DESCRIPTORS.fullmatch(str(place.parent)) or not place.is_symlink():
            return place
        path = place.parent / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_special(place: Path) -> bool:
    """Whether something is there that is not a plain file, or is another process's descriptor."""
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISSOCK(mode):
        raise OSError(errno.ENXIO, "a socket is there, which cannot be opened like a file")
    return not stat.S_ISREG(mode) or _DESCRIPTORS.fullmatch(str(place.parent)) is not None


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise disk_error(path, error) from error
