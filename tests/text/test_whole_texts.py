"""Texts that are read as a whole, and byte streams as lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.corpus import decoded_lines, read_lines, read_parallel, read_text

Write = Callable[[str, bytes | str | list[str]], Path]


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_lines_come_back_as_they_were_but_for_the_carriage_return(lines: list[str]) -> None:
    stream = [f"{line}\n".encode() for line in lines]
    found = list(decoded_lines(stream))
    expected = [line.removesuffix("\r") for line in lines]
    if expected:
        expected[0] = expected[0].removeprefix("\ufeff")
    assert found == [(line, True) for line in expected]


def test_bad_bytes_are_replaced_and_told() -> None:
    assert list(decoded_lines([b"one\r\n", b"caf\xe9 au lait\n", b"two"])) == [
        ("one", True),
        ("caf\ufffd au lait", False),
        ("two", True),
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


def test_reading_with_and_without_replacement_agree_on_good_text(write: Write) -> None:
    path = write("text", b"a\r\n\xff\nb")
    with path.open("rb") as stream:
        replaced = list(decoded_lines(stream))
    assert [line for _, line in read_lines(path)] == [line if good else None for line, good in replaced]
