"""Texts that are read as a whole, and byte streams as lines."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.corpus import read_parallel, read_side_by_side
from saccade.text.reading import LONGEST, decoded, read_lines, read_text

Write = Callable[[str, bytes | str | list[str]], Path]


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_lines_come_back_as_they_were_but_for_the_carriage_return(lines: list[str]) -> None:
    stream = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    found = list(decoded(stream))
    expected = [line.removesuffix("\r") for line in lines]
    if expected:
        expected[0] = expected[0].removeprefix("\ufeff")
    assert found == [(line, "NUL characters" if "\0" in line else "") for line in expected]


def test_bad_bytes_are_replaced_and_told() -> None:
    assert list(decoded(io.BytesIO(b"one\r\ncaf\xe9 au lait\ntwo"))) == [
        ("one", ""),
        ("caf\ufffd au lait", "bad UTF-8"),
        ("two", ""),
    ]


def test_a_text_is_all_its_lines_or_refused(write: Write) -> None:
    assert read_text(write("good", "a\n\n c\u2028d\r\n")) == ["a", "", " c\u2028d"]
    with pytest.raises(UserError, match=r"bad:2: not UTF-8"):
        read_text(write("bad", b"a\n\xff\n"))


def test_parallel_texts_keep_their_empty_lines(write: Write) -> None:
    assert read_parallel(write("a", "1\n\n3\n"), write("b", "x\ny\n\n")) == (["1", "", "3"], ["x", "y", ""])


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (b"1\n2\n", b"x\n", "a has 2 lines, .*b has 1 lines"),
        (b"", b"", "empty"),
        (b"1\n2\n", b"x\n\xff\n", r"b:2: not UTF-8"),
        (b"1\n\xff\n", b"x\ny\n", r"a:2: not UTF-8"),
    ],
)
def test_parallel_texts_that_do_not_match_are_refused(
    left: bytes, right: bytes, message: str, write: Write
) -> None:
    with pytest.raises(UserError, match=message):
        read_parallel(write("a", left), write("b", right))


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, 3 * LONGEST])
def test_a_line_without_an_end_is_given_up_in_bounded_memory(length: int, write: Write) -> None:
    path = write("text", b"one\n" + b"x" * length + b"\ntwo\n")
    too_long = length >= LONGEST  # its end counts
    second = ("", "longer than 1 MiB") if too_long else ("x" * length, "")
    tracemalloc.start()
    assert list(read_lines(path)) == [("one", ""), second, ("two", "")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * LONGEST
    if too_long:
        with pytest.raises(UserError, match=r"text:2: longer than 1 MiB\. Split it"):
            read_text(path)


def test_a_line_with_nul_characters_is_refused_where_it_stands(write: Write) -> None:
    with pytest.raises(UserError, match=r"text:2: contains NUL"):
        read_text(write("text", "one\nt\0wo\nthree and some more words\n"))


def test_texts_side_by_side_are_as_many_as_the_files(write: Write) -> None:
    paths = [write(name, f"1{name}\n\n") for name in "abc"]
    assert read_side_by_side(paths) == [["1a", ""], ["1b", ""], ["1c", ""]]
