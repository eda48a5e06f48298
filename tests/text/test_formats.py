"""What the first bytes say: compressed, another format, another encoding, or text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.text.formats import compression, no_text, undecided

LINES = "the number is here\ndie Zahl ist fünf\n" * 50
CYRILLIC = "Число здесь, и ещё одно.\n" * 50
CHINESE = "这里有一个数字，那里也有一个。\n" * 50


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (gzip.compress(b"text", mtime=0), "gzip"),
        (lzma.compress(b"text"), "xz"),
        (bz2.compress(b"text"), "bzip2"),
        (bz2.compress(b""), "bzip2"),
        (b"\x28\xb5\x2f\xfd\x20\x04", "Zstandard"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0", "Zstandard"),
        (LINES.encode(), None),
        (b"BZh9 is how bzip2 begins\n", None),
    ],
)
def test_compression_is_known_by_its_magic_number(data: bytes, name: str | None) -> None:
    assert compression(data) == name
    if name is not None:
        beginnings = [data[:size] for size in range(1, 10)]
        assert all(undecided(head) or compression(head) == name for head in beginnings)


@given(st.text(min_size=1))
def test_a_line_of_text_is_never_waited_for(text: str) -> None:
    assert not undecided(f"{text}\n".encode(errors="replace"))


def archive(kind: str) -> bytes:
    packed = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("text"), io.BytesIO())
    else:
        with zipfile.ZipFile(packed, "w") as zipped:
            zipped.writestr("[Content_Types].xml" if kind == "docx" else "text", "x")
    return packed.getvalue()


FOREIGN = {
    "zip": (archive("zip"), "a zip archive. Unpack it first."),
    "docx": (archive("docx"), "an Office document. Save its text as plain text first."),
    "tar": (archive("tar"), "a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40", "compressed (lz4)"),
    "lzma": (lzma.compress(b"text" * 9, format=lzma.FORMAT_ALONE), "compressed (lzma)"),
    "parquet": (b"PAR1\x15\x04\x15\x80", "a Parquet file"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
    "program": (Path("/bin/sh").read_bytes()[:4096], "a program"),
    "picture": (b"\x89PNG\r\n\x1a\n", "a picture"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"weight":{"dtype":"F32"}}', "a safetensors file"),
    "numbers": (np.arange(100).tobytes(), "binary data"),
    "zeros": (bytes(1000), "binary data"),
    "old Mac": (b"seven\rnine\r", "lines end in carriage returns alone. Convert it: tr '\\r' '\\n'"),
    "twice": (gzip.compress(b"text", mtime=0), "compressed twice (gzip inside)"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_text_is_named_with_what_to_do(name: str) -> None:
    data, message = FOREIGN[name]
    assert message in (no_text(data) or "")


@pytest.mark.parametrize("text", [LINES, CYRILLIC, CHINESE], ids=["latin", "cyrillic", "chinese"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""], ids=["with mark", "without"])
def test_wide_encodings_are_named_with_the_command_that_converts(text: str, encoding: str, mark: str) -> None:
    expected = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    if mark:
        expected = expected[:-2]  # iconv takes the byte order from the mark
    found = no_text(f"{mark}{text}".encode(encoding)[:1001]) or ""
    assert found.startswith(expected) and f"iconv -f {expected} -t UTF-8 {{file}}" in found


def test_a_short_line_of_a_wide_encoding_is_enough() -> None:
    assert "UTF-16LE" in (no_text("hi\n".encode("utf-16-le")) or "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (LINES, "latin-1"),
        (CYRILLIC, "koi8-r"),
        (CYRILLIC, "cp1251"),
        (CHINESE, "gb18030"),
        ("ここにある数字です。\n" * 9, "shift_jis"),
    ],
)
def test_text_that_is_mostly_not_utf8_is_refused(text: str, encoding: str) -> None:
    found = no_text(text.encode(encoding)) or ""
    assert found.startswith("not UTF-8 in ") and "iconv" in found


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        CYRILLIC.encode(),
        CHINESE.encode(),
        b"\xef\xbb\xbf" + LINES.encode(),
        b"",
        b"\n",
        LINES.encode() + b"\0\n",
        LINES.encode() + b"caf\xe9\n" * 4,
        CHINESE.encode()[:1000],  # cut within a character
        b"<!DOCTYPE html>\n<html>\n",
        b"MZ is a region in Portugal\n",
        b"PAR1 and PAR2\n",
        b"]",
    ],
)
def test_text_passes_and_so_do_a_few_bad_lines(data: bytes) -> None:
    assert no_text(data) is None


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers(0, 3))
def test_printable_utf8_passes_wherever_it_is_cut(text: str, cut: int) -> None:
    data = f"a{text}".encode()
    assert no_text(data[: len(data) - cut]) is None
