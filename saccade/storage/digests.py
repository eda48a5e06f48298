"""The file SHA256SUMS of a model folder, which `sha256sum --check` reads as well."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from saccade.errors import DamagedFile
from saccade.storage.files import write_text
from saccade.storage.structured import SMALL, read_utf8, reason, require_plain

DIGESTS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\0]+)")


def digest(path: Path) -> str:
    """SHA-256 of a plain file in hexadecimal; takes about a second for each gigabyte. Raises OSError."""
    require_plain(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_digests(folder: Path, names: Iterable[str]) -> None:
    """Writes SHA256SUMS for these files of a folder."""
    lines = (f"{digest(folder / name)}  {name}\n" for name in sorted(names))
    (folder / DIGESTS).write_text("".join(lines), encoding="utf-8")


def add_digest(folder: Path, name: str) -> None:
    """Adds a file of a folder to its SHA256SUMS, or replaces its digest; the other digests stay.

    Raises DamagedFile for a SHA256SUMS that is not readable, and StorageError if it cannot be written.
    """
    digests = {**read_digests(folder), name: digest(folder / name)}
    write_text(folder / DIGESTS, "".join(f"{own}  {file}\n" for file, own in sorted(digests.items())))


def read_digests(folder: Path) -> dict[str, str]:
    """The digests by file name; none if the folder has no SHA256SUMS, as older ones. Raises DamagedFile."""
    path = folder / DIGESTS
    try:
        lines = read_utf8(path, limit=SMALL).splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path}: damaged: {reason(error)}. Copy the folder again.") from error
    matches = [_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        raise DamagedFile(f"{path}: damaged: a line is not a digest and a name. Copy the folder again.")
    return {match[2]: match[1] for match in matches if match is not None}


def verify(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """Compares files with SHA256SUMS; returns the names of those compared, which may be none.

    names: the files to look at; None: all that are listed. Raises DamagedFile, naming the first file that is
    not the one that was written.
    """
    expected = read_digests(folder)
    found = [name for name in (expected if names is None else names) if name in expected]
    for name in found:
        try:
            same = digest(folder / name) == expected[name]
        except OSError as error:
            raise DamagedFile(f"{folder / name}: {reason(error)}. Copy the folder again.") from error
        if not same:
            raise DamagedFile(
                f"{folder / name}: damaged: not what was written, according to {DIGESTS}. Copy the folder "
                f"again; if the file was changed on purpose, delete {DIGESTS}."
            )
    return found
