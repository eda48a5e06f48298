"""Written text, compressed by the end of its name, is what the reader unpacks."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from saccade.commands.output import output_file
from saccade.errors import UserError
from saccade.text.opening import opened

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "GZ": gzip.decompress,
    "xz": lzma.decompress,
    "bz2": bz2.decompress,
    "txt": bytes,
}


@pytest.mark.parametrize("ending", UNPACK)
def test_the_end_of_the_name_decides_how_output_is_compressed(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out.{ending}"
    with output_file(out) as stream:
        for number in range(1000):
            stream.write(f"line {number}\n".encode())
            stream.flush()
    expected = b"".join(f"line {number}\n".encode() for number in range(1000))
    assert UNPACK[ending](out.read_bytes()) == expected
    with opened(out) as stream:
        assert stream.read() == expected


def test_equal_text_gives_equal_files(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        with output_file(tmp_path / name) as stream:
            stream.write(b"text\n")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_what_was_done_before_an_error_can_be_unpacked(tmp_path: Path) -> None:
    out = tmp_path / "out.gz"

    def work() -> None:
        with output_file(out) as stream:
            stream.write(b"done\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    [partial] = tmp_path.iterdir()
    assert partial.name == "out.gz.partial"
    assert gzip.decompress(partial.read_bytes()) == b"done\n"


def test_zstandard_is_read_back_or_refused_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "out.zst"
    if sys.version_info < (3, 14) and find_spec("backports.zstd") is None:
        with pytest.raises(UserError, match=r"saccade-seq2seq\[zstd\]"), output_file(out):
            pass
        assert not out.exists()
        return
    with output_file(out) as stream:
        stream.write(b"text\n")
    with opened(out) as stream:
        assert stream.read() == b"text\n"
