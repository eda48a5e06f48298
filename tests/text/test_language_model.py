"""From text files to ids on disk."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from saccade.config import build
from saccade.errors import UserError
from saccade.text.language_model import (
    TextConfig,
    TextSize,
    TextTokenizerConfig,
    open_prepared_text,
    prepare_text,
    text_size,
)
from saccade.text.words import ByteTokenizer, WordTokenizer

FIRST, SECOND = "the cat\n\n the dog ran \n", "a cat sat\nan übel dog"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "first.txt").write_text(FIRST, encoding="utf-8")
    (tmp_path / "second.txt.gz").write_bytes(gzip.compress(SECOND.encode()))
    return tmp_path


def settings(folder: Path, **more: Any) -> TextConfig:
    files = [str(folder / "first.txt"), str(folder / "second.txt.gz")]
    return build(TextConfig, {"text": files, **more}, where="data")


def pieces(**table: Any) -> TextTokenizerConfig:
    return build(TextTokenizerConfig, table, where="tokenizer")


@pytest.mark.parametrize(
    "table",
    [{"model": "word"}, {"model": "byte"}, {"vocab_size": 290}, {"model": "unigram", "vocab_size": 279}],
)
def test_all_text_is_kept_in_its_order_with_its_empty_lines(text: Path, table: dict[str, Any]) -> None:
    found = prepare_text(settings(text), pieces(**table), out=text / "out")
    lines = [*FIRST.split("\n")[:-1], *SECOND.split("\n")]
    expected = [token for ids in found.tokenizer.encode_target(lines) for token in ids]
    assert found.train.tolist() == expected
    assert found.valid is None
    again = open_prepared_text(text / "out")
    assert again.train.tolist() == expected
    assert again.report == found.report


def test_the_report_counts_line_ends_and_names_the_files(text: Path) -> None:
    config = settings(text, valid_text=str(text / "first.txt"))
    found = prepare_text(config, pieces(model="word", vocab_size=9), out=text / "out")
    assert found.report.train == TextSize(lines=5, words=16, characters=45, tokens=16, unknown=3)
    assert found.report.valid == TextSize(lines=3, words=8, characters=23, tokens=8, unknown=1)
    assert found.report.files[str(text / "first.txt")] == hashlib.sha256(FIRST.encode()).hexdigest()
    assert "training: 5 lines, 16 words, 45 characters, 16 tokens" in found.report.summary()[0]
    assert text_size(FIRST.split("\n")[:-1], found.tokenizer) == found.report.valid


def test_a_tokeniser_that_is_given_is_kept(text: Path) -> None:
    known = WordTokenizer(["cat", "dog"])
    found = prepare_text(settings(text), pieces(), out=text / "out", tokenizer=known)
    assert found.train.tolist()[:3] == [1, 4, 3]
    assert isinstance(found.tokenizer, WordTokenizer)
    assert isinstance(
        prepare_text(settings(text), pieces(model="byte"), out=text / "b").tokenizer, ByteTokenizer
    )


def test_what_cannot_be_read_is_told_with_its_place(text: Path) -> None:
    (text / "bad.txt").write_bytes(b"good\nb\xe4d\n")
    (text / "empty.txt").touch()
    for name, message in (
        ("bad.txt", r"bad\.txt:2: not UTF-8"),
        ("empty.txt", r"empty\.txt: empty"),
        ("none.txt", r"none\.txt: no such file"),
    ):
        with pytest.raises(UserError, match=message):
            prepare_text(TextConfig(text=(text / name,)), pieces(model="byte"), out=text / "out")
        with pytest.raises(UserError, match="no prepared text"):
            open_prepared_text(text / "out")
    with pytest.raises(UserError, match=r"set data\.text"):
        prepare_text(TextConfig(), pieces(), out=text / "out")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": "word", "byte_fallback": False}, "byte_fallback: only for sub-words, and model is word"),
        ({"model": "byte", "normalization": "nfkc"}, "normalization: only for sub-words"),
        ({"model": "byte", "vocab_size": 300}, "vocab_size: with bytes it is always 256"),
        ({"model": "char"}, r"tokenizer\.model"),
        ({"joint": False}, r"tokenizer\.joint = false: no such setting"),
    ],
)
def test_settings_that_say_nothing_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pieces(**table)
