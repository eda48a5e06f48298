"""Compression of text files that are written, by the ends of their names; `opening` reads them again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from saccade.distribution import missing


@contextmanager
def compressed(stream: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes reach `stream` compressed if the name ends in .gz, .xz, .bz2 or .zst.

    Raises UserError for .zst if this Python cannot compress with Zstandard.
    """
    packer = _packer(stream, path)
    if packer is None:
        yield stream
    else:
        with packer:
            yield packer


def _packer(stream: BinaryIO, path: Path) -> BinaryIO | None:
    match path.suffix.lower():
        case ".gz":
            import gzip

            # Without name and time, so that equal text gives equal files.
            return cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0))
        case ".xz":
            import lzma

            return cast(BinaryIO, lzma.LZMAFile(stream, "wb"))
        case ".bz2":
            import bz2

            return cast(BinaryIO, bz2.BZ2File(stream, "wb"))
        case ".zst":
            return _zstandard(stream, path)
    return None


def _zstandard(stream: BinaryIO, path: Path) -> BinaryIO:
    try:
        if sys.version_info >= (3, 14):
            from compression.zstd import ZstdFile
        else:
            from backports.zstd import ZstdFile
    except ModuleNotFoundError as error:
        raise missing(f"{path}: this Python cannot compress with Zstandard", "zstd") from error
    return cast(BinaryIO, ZstdFile(stream, "wb"))
