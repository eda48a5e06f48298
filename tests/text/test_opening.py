"""Opening: compressed text, pipes that can be read once, standard input, and what is no file."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import InputError, UserError
from saccade.text.corpus import AlignedFiles, file_hash, read_aligned, read_parallel
from saccade.text.opening import kept, reads_once, refuse_shared, require_files
from saccade.text.reading import read_lines, read_text

Write = Callable[[str, bytes | str | list[str]], Path]

TEXT = b"".join(b"line %d has words\n" % number for number in range(5000))
LINES = TEXT.decode().split("\n")[:-1]
# "one\ntwo\n" as `zstd` packs it
ZSTD = bytes.fromhex("28b52ffd04584100006f6e650a74776f0ae6a60e40")


class Input:
    """Stands for sys.stdin, with these bytes."""

    closed = False

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self.buffer = stream


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", Input(io.BytesIO(data)))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("name", ["text", "text.GZ", "text.txt", "text.xz"])
def test_compressed_text_is_read_whatever_its_name(
    write: Write, name: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_text(write(name, pack(TEXT))) == LINES
    assert read_text(write(name, pack(TEXT) + pack(b"more\n"))) == [*LINES, "more"]
    give(monkeypatch, pack(TEXT))
    assert read_text(Path("-")) == LINES


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
@given(cut=st.integers(20, 3000), flip=st.integers(20, 3000))
def test_damaged_compressed_text_gives_one_message(
    tmp_path_factory: pytest.TempPathFactory, pack: Callable[[bytes], bytes], cut: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "text"
    text = os.urandom(3000).hex()
    packed = bytearray(pack(text.encode()))
    path.write_bytes(packed[:cut])
    with pytest.raises(UserError, match="text: the .* data are (cut off|damaged)"):
        read_text(path)
    packed[flip] ^= 1
    path.write_bytes(packed)
    message = ""
    try:
        read = read_text(path)
    except UserError as error:
        read, message = [text], str(error)
    assert read == [text]  # some bits are never read
    assert not message or re.search("text: the .* data are (cut off|damaged)", message)


def test_zstandard_is_read_or_says_what_to_install(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("text.zst", ZSTD)
    backport = importlib.util.find_spec("backports") and importlib.util.find_spec("backports.zstd")
    if sys.version_info >= (3, 14) or backport:
        assert read_text(path) == ["one", "two"]
        with pytest.raises(UserError, match="the Zstandard data are cut off"):
            read_text(write("cut.zst", ZSTD[:-6]))
        with pytest.raises(UserError, match="the Zstandard data are damaged"):
            read_text(write("damaged.zst", ZSTD[:12] + b"xx" + ZSTD[14:]))
    for module in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"text\.zst: compressed with Zstandard, .*: pip install .*\[zstd\]"):
        read_text(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_no_text_is_refused_even_if_it_is_compressed(
    write: Write, pack: Callable[[bytes], bytes]
) -> None:
    path = write("my text", pack("hello\n".encode("utf-16")))
    with pytest.raises(InputError, match=r"my text: UTF-16 .* -t UTF-8 '.*/my text' > NEW"):
        read_text(path)


def test_a_byte_order_mark_is_dropped_from_compressed_text_too(write: Write) -> None:
    assert read_text(write("text", gzip.compress(b"\xef\xbb\xbfone\n"))) == ["one"]


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[..., Path]:
    """A named pipe, with what a thread writes into it once it is opened."""

    def pipe(name: str, data: bytes) -> Path:
        path = tmp_path / name
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
        return path

    return pipe


def test_a_pipe_is_read_once(pipe: Callable[..., Path], write: Write) -> None:
    path = pipe("p", TEXT)
    assert reads_once(path) and not reads_once(write("text", TEXT)) and not reads_once(Path("/dev/null"))
    assert read_text(path) == LINES


def test_two_pipes_are_read_side_by_side(pipe: Callable[..., Path]) -> None:
    assert read_parallel(pipe("a", TEXT), pipe("b", TEXT.upper()))[1] == [line.upper() for line in LINES]


def test_the_rest_of_a_longer_pipe_is_not_waited_for(pipe: Callable[..., Path], write: Write) -> None:
    short, long = write("short", "1\n2\n"), pipe("long", b"1\n2\n3\n4\n")
    with pytest.raises(UserError, match=r"short has 2 lines, .*long has more than 2 lines"):
        read_parallel(short, long)


def test_files_of_different_lengths_are_counted(write: Write) -> None:
    with pytest.raises(UserError, match=r"short has 1 lines, .*long has 4 lines"):
        read_parallel(write("short", "1\n"), write("long", "1\n2\n3\n4\n"))


def test_the_same_pipe_twice_is_refused(pipe: Callable[..., Path], write: Write) -> None:
    path, text = pipe("p", b""), write("text", "x\n")
    refuse_shared({"--source": [text, path], "--target": [text]})
    with pytest.raises(UserError, match="--source and --target name the same input twice, .*/p, which can"):
        refuse_shared({"--source": [text, path], "--target": [path]})
    with pytest.raises(UserError, match="--a name the same input twice, standard input"):
        refuse_shared({"--a": [Path("-"), Path("/dev/stdin")]})
    with pytest.raises(UserError, match="source and target name the same input twice"):
        list(read_aligned(AlignedFiles({"source": [path], "target": [path]})))
    path.read_bytes()  # lets the writer end


def test_what_is_needed_several_times_is_no_pipe(pipe: Callable[..., Path], write: Write) -> None:
    path = pipe("p", b"")
    require_files([write("text", "x\n")])
    with pytest.raises(UserError, match="/p: can be read only once, but is needed several times. Save it"):
        require_files([path])
    path.read_bytes()


def test_pipes_are_kept_and_files_stay_where_they_are(
    pipe: Callable[..., Path], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write("text", "x\n")
    give(monkeypatch, b"from standard input\n")
    files = {"source": [text, pipe("a", TEXT)], "target": [Path("-"), text], "test": []}
    out = tmp_path / "out"
    found = kept(files, out)
    assert found == {"source": (text, out / "source-2"), "target": (out / "target-1", text), "test": ()}
    assert (out / "source-2").read_bytes() == TEXT
    assert (out / "target-1").read_bytes() == b"from standard input\n"


def test_one_writer_may_fill_several_pipes_in_turn(tmp_path: Path) -> None:
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)

    def write_in_turn() -> None:
        with (tmp_path / "a").open("wb") as one, (tmp_path / "b").open("wb") as other:
            for _ in range(20):
                one.write(TEXT)
                other.write(TEXT)

    threading.Thread(target=write_in_turn, daemon=True).start()
    kept({"pairs": [tmp_path / "a", tmp_path / "b"]}, tmp_path / "out")
    assert (tmp_path / "out" / "pairs-2").read_bytes() == TEXT * 20


@pytest.mark.parametrize("first", [b"a line\n", b"(\n", b"B\n", b"\xc3\xa4\n"])
def test_a_line_of_a_pipe_is_there_as_soon_as_it_is_complete(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as sender:
        monkeypatch.setattr(sys, "stdin", Input(stream))
        sender.write(first)
        lines = read_lines(Path("-"))
        assert next(lines) == (first.decode()[:-1], "")
        sender.write(b"x" * 100)
        sender.write(b"\n")
        assert next(lines) == ("x" * 100, "")
        sender.close()
        assert list(lines) == []


def test_a_magic_number_that_comes_in_parts_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(1)

    monkeypatch.setattr(sys, "stdin", Input(Slow(lzma.compress(b"one\ntwo\n"))))
    assert read_text(Path("-")) == ["one", "two"]


@pytest.mark.parametrize("closed", [True, False])
def test_closed_standard_input_is_named(closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Input(io.BytesIO())
    stream.closed = True
    monkeypatch.setattr(sys, "stdin", stream if closed else None)
    with pytest.raises(UserError, match="standard input is closed"):
        read_text(Path("-"))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="Linux has it")
def test_devices_are_refused_and_the_null_device_is_empty() -> None:
    for call in (read_text, file_hash):
        with pytest.raises(UserError, match="/dev/zero: a device; a text file is needed"):
            call(Path("/dev/zero"))
    assert read_text(Path("/dev/null")) == []


def test_a_name_with_a_nul_character_is_refused() -> None:
    with pytest.raises(UserError, match="not the name of a file"):
        read_text(Path("a\0b"))
    assert not reads_once(Path("a\0b"))
