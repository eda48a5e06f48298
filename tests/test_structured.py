"""Files from outside: JSON and TOML say what the standard library says, or one reason is given, soon."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from saccade.config import load_toml
from saccade.errors import ConfigError, DamagedFile, NotFound, UserError
from saccade.storage.structured import (
    DEEPEST,
    parse_json,
    parse_toml,
    read_bytes,
    read_json,
    read_object,
    read_utf8,
    require_plain,
)

VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000 + "]" * 200_000, "nested more than 64 deep"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "nested more than 64 deep"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "nested more than 64 deep"),
        ("[" * 200_000, "nested more than 64 deep"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' occurs twice"),
        ("NaN", "NaN is not a number"),
        ('{"a": [-Infinity]}', "-Infinity is not a number"),
        ("1e999", "too large for a number"),
        ("9" * 100_000, "4300 digits"),
        ("", "Expecting value"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_that_is_ambiguous_or_a_bomb_is_one_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_depth_up_to_the_bound_is_read() -> None:
    text = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)
    assert parse_json(text) == json.loads(text)
    assert parse_toml(f"a = {text[1:-1]}") == tomllib.loads(f"a = {text[1:-1]}")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000 + "]" * 100_000,
        "a = " + "{a = " * 100_000 + "1" + "}" * 100_000,
        ".".join("a" * 200_000) + " = 1",
        "[" + ".".join("a" * 200_000) + "]",
        "\n".join(f"b{number}.{'.'.join('a' * 900)} = 1" for number in range(500)),
        "a." * 100 + "a = 1",
    ],
    ids=["lists", "tables", "a key", "a header", "many keys", "a deep key"],
)
def test_deep_toml_is_one_reason(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_toml(text)
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match="config.toml: not valid TOML: tables or lists are nested more"):
        load_toml(tmp_path / "config.toml")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


NOT_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe that nobody writes": os.mkfifo,
    "a device": endless,
    "a folder": Path.mkdir,
    "nothing": lambda path: None,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_not_a_plain_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.json"
    NOT_FILES[kind](path)
    for read in (require_plain, read_bytes, read_utf8, read_json):
        with pytest.raises(OSError, match=r"file\.json"):
            read(path)
    with pytest.raises(UserError, match=r"file\.json: (missing|damaged: .*)\. Copy it\.$"):
        read_object(path, advice="Copy it.")


def test_a_configuration_may_come_through_a_pipe_but_not_without_an_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[training]\nsteps = 3\n")
    os.close(writing)
    assert load_toml(Path(f"/dev/fd/{reading}")) == {"training": {"steps": 3}}
    os.close(reading)
    with pytest.raises(ConfigError, match="more than 1,048,576 bytes"):
        load_toml(Path("/dev/zero"))


def test_the_size_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_bytes(tmp_path / "file", limit=4)


def test_a_missing_file_is_called_missing_and_a_damaged_one_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    with pytest.raises(NotFound, match=r"model\.json: missing\. Copy it\."):
        read_object(path, advice="Copy it.")
    for content, reason in (
        (b"[]", "it holds no JSON object"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"{", "Expecting property"),
    ):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=rf"model\.json: damaged: .*{reason}.*\. Copy it\."):
            read_object(path, advice="Copy it.")
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(path, advice="") == {"a": 1}


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1000\n")
    for read in (require_plain, read_bytes, read_json):
        with pytest.raises(DamagedFile, match=r"model\.safetensors: a pointer of Git LFS.*git lfs pull"):
            read(path)
