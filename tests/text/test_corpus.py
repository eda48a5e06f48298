import gzip
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from saccade.config import build
from saccade.errors import UserError
from saccade.text.corpus import AlignedFiles, DataConfig, Line, file_hash, read_aligned
from saccade.text.formats import compression, no_text
from saccade.text.reading import read_lines


def two(*paths: Path) -> AlignedFiles:
    return AlignedFiles({"source": paths[:1], "target": paths[1:]})


Write = Callable[[str, bytes | str | list[str]], Path]

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def expected_lines(content: bytes) -> list[tuple[str, str]]:
    """The rule, written out: split at \\n, drop one \\r at the end; bad UTF-8 and NUL are problems."""
    parts = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if parts[-1] == b"" and not content.endswith(b"\xef\xbb\xbf"):
        parts.pop()
    lines = []
    for part in parts:
        line = part[:-1] if part.endswith(b"\r") else part
        try:
            lines.append((line.decode("utf-8"), "NUL characters" if 0 in line else ""))
        except UnicodeDecodeError:
            lines.append((line.decode("utf-8", errors="replace"), "bad UTF-8"))
    return lines


PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"a", b"\x80", b"\xc3", b"\xa4", b"\xe2\x80\xa8", b"\xc2\x85"]
)
BYTES = st.one_of(
    st.binary(),
    st.lists(
        st.one_of(PIECES, st.sampled_from([b"\x0b", b"\x0c", b"\x00", b"\x1c", b"\t", b"\xef\xbb\xbf"]))
    ).map(b"".join),
)


@same_folder
@given(content=BYTES)
def test_arbitrary_bytes_are_read_line_by_line_faithfully(tmp_path: Path, content: bytes) -> None:
    assume(no_text(content) is None and compression(content) is None)
    path = tmp_path / "text"
    path.write_bytes(content)
    assert list(read_lines(path)) == expected_lines(content)


@same_folder
@given(content=BYTES)
def test_gzip_gives_the_same_lines(tmp_path: Path, content: bytes) -> None:
    assume(no_text(content) is None)
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(content, compresslevel=1))
    assert list(read_lines(path)) == expected_lines(content)


def test_several_gzip_members_are_one_text(write: Write) -> None:
    path = write("text.gz", gzip.compress(b"one\ntw") + gzip.compress(b"o\nthree"))
    assert list(read_lines(path)) == [("one", ""), ("two", ""), ("three", "")]


def test_two_files_give_pairs_in_order_with_the_problems_marked(write: Write) -> None:
    source = write("a.en", b"one\n\ntwo\nthree\xff\nfour\n  \n")
    target = write("a.de", b"eins\nleer\n \t\ndrei\nvi\xfeer\nx\n")
    files = {"source": source, "target": target}

    def line(one: str, other: str, *rest: Any) -> Line:
        return Line({"source": one, "target": other}, files, *rest)

    lines = list(read_aligned(two(source, target)))
    assert [each._replace(detail="") for each in lines] == [
        line("one", "eins", 1),
        line("", "leer", 2, "empty", "source"),
        line("two", " \t", 3, "empty", "target"),
        line("", "", 4, "bad UTF-8", "source"),
        line("", "", 5, "bad UTF-8", "target"),
        line("  ", "x", 6, "empty", "source"),
    ]
    places = [one.place().rpartition("/")[2] for one in lines]
    assert places == ["a.en:1", "a.en:2", "a.de:3", "a.en:4", "a.de:5", "a.en:6"]
    assert lines[1].place("target") == f"{target}:2"


def test_a_line_has_as_many_columns_as_there_are_files(write: Write) -> None:
    columns = {
        "words": [write("a.words", b"a b\nc\n\nd\n")],
        "labels": [write("a.labels", b"X Y\nZ\nX\n\n")],
        "weight": [write("a.weight", b"1\n\n2\n\xff\n")],
    }
    lines = list(read_aligned(AlignedFiles(columns, may_be_blank=("weight",))))
    assert [line.problem for line in lines] == ["", "", "empty", "bad UTF-8"]
    assert lines[0].texts == {"words": "a b", "labels": "X Y", "weight": "1"}
    assert [line.fault for line in lines[2:]] == ["words", "weight"]


def test_a_tsv_line_needs_exactly_one_tab(write: Write) -> None:
    path = write("a.tsv", b"one\teins\nno tab\ntwo\ttabs\there\n\tx\nx\xff\ty\nthree\tdrei")
    pairs = list(read_aligned(AlignedFiles(tabbed=[path])))
    assert [pair.problem for pair in pairs] == ["", "columns", "columns", "empty", "bad UTF-8", ""]
    assert pairs[0].texts == {"source": "one", "target": "eins"} and pairs[-1].texts["target"] == "drei"
    assert pairs[1].place() == f"{path}:2"


def test_files_are_read_one_after_another_each_with_its_own_line_numbers(write: Write) -> None:
    sources = [write("a.en", ["1", "2"]), write("b.en", ["3"])]
    targets = [write("a.de", ["I", "II"]), write("b.de", ["III"])]
    tsv = write("c.tsv", ["4\tIV"])
    pairs = list(read_aligned(AlignedFiles({"source": sources, "target": targets}, [tsv])))
    assert [(*pair.texts.values(), pair.number) for pair in pairs] == [
        ("1", "I", 1),
        ("2", "II", 2),
        ("3", "III", 1),
        ("4", "IV", 1),
    ]


def test_a_line_end_at_the_end_of_the_file_makes_no_difference(write: Write) -> None:
    source, target = write("a.en", b"one\ntwo"), write("a.de", b"eins\nzwei\n")
    assert [pair.texts["target"] for pair in read_aligned(two(source, target))] == ["eins", "zwei"]


class TestErrors:
    @pytest.mark.parametrize(("left", "right"), [(3, 5), (5, 3), (0, 2), (1, 0)])
    def test_unequal_line_counts_name_both(self, write: Write, left: int, right: int) -> None:
        source, target = write("a.en", ["x"] * left), write("a.de", ["y"] * right)
        shortest = min(left, right)
        with pytest.raises(
            UserError, match=rf"a\.en has {left} lines, .*a\.de has {right} lines: .*line {shortest}\."
        ):
            list(read_aligned(two(source, target)))

    def test_empty_files_are_an_error(self, write: Write) -> None:
        empty = write("empty", b"")
        with pytest.raises(UserError, match="empty"):
            list(read_aligned(two(empty, empty)))
        with pytest.raises(UserError, match="empty"):
            list(read_aligned(AlignedFiles(tabbed=[empty])))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        for call in (lambda path: list(read_lines(path)), file_hash):
            with pytest.raises(UserError, match=r"nowhere\.en: no such file"):
                call(tmp_path / "nowhere.en")

    def test_a_folder_is_no_text_file(self, tmp_path: Path) -> None:
        for call in (lambda path: list(read_lines(path)), file_hash):
            with pytest.raises(UserError, match="a folder"):
                call(tmp_path)

    def test_a_file_inside_a_file_is_a_user_error(self, write: Write) -> None:
        with pytest.raises(UserError, match="cannot be read"):
            list(read_lines(write("a.en", ["x"]) / "b.en"))

    def test_a_file_that_may_not_be_read_says_so(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> io.BytesIO:
            raise PermissionError(13, "Permission denied")

        path = write("a.en", ["x"])
        monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, whom modes do not stop
        with pytest.raises(UserError, match="permissions"):
            list(read_lines(path))

    def test_a_damaged_gz_says_so(self, write: Write) -> None:
        content = gzip.compress(b"text\n", mtime=0)[:10] + b"\xff" * 20
        with pytest.raises(UserError, match="the gzip data are damaged"):
            list(read_lines(write("a.gz", content)))

    def test_a_cut_off_gz_says_so(self, write: Write) -> None:
        content = gzip.compress("".join(f"line {i}\n" for i in range(5000)).encode())
        with pytest.raises(UserError, match="cut off"):
            list(read_lines(write("a.gz", content[: len(content) // 2])))

    def test_a_gz_with_a_wrong_checksum_says_so(self, write: Write) -> None:
        content = bytearray(gzip.compress(b"text\n"))
        content[-6] ^= 1
        with pytest.raises(UserError, match="damaged"):
            list(read_lines(write("a.gz", bytes(content))))


class TestConfig:
    def test_one_path_stands_for_a_list_of_one(self) -> None:
        config = build(DataConfig, {"source": "a.en", "target": ["a.de"]}, where="data")
        assert config.source == (Path("a.en"),) and config.target == (Path("a.de"),)
        assert config == DataConfig(source=(Path("a.en"),), target=(Path("a.de"),))

    def test_python_takes_paths_as_well_as_text(self) -> None:
        config = DataConfig.model_validate({"source": Path("a.en"), "target": "a.de"})
        assert config.train_files.all == (Path("a.en"), Path("a.de"))

    @pytest.mark.parametrize("split", ["", "valid_", "test_"])
    def test_both_sides_need_as_many_files(self, split: str) -> None:
        with pytest.raises(UserError, match=f"{split}source names 2 and {split}target 1 files"):
            build(DataConfig, {f"{split}source": ["a", "b"], f"{split}target": "c"}, where="data")

    def test_a_number_is_no_path(self) -> None:
        with pytest.raises(UserError, match="data.source"):
            build(DataConfig, {"source": 3}, where="data")

    def test_files_are_there_or_not(self) -> None:
        config = DataConfig(pairs=(Path("a.tsv"),))
        assert config.train_files and not config.valid_files and not config.test_files


def test_the_hash_is_that_of_the_stored_bytes(write: Write) -> None:
    content = gzip.compress(b"text\n")
    assert file_hash(write("a.gz", content)) == hashlib.sha256(content).hexdigest()
