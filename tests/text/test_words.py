"""Tokenisers of words and of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.tokenizer import Tokenizer, load_tokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer

LINES = ["the cat sat", "", " the  cat <unk> ran ", "the dog </s> ran"]
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))


def words(vocab_size: int | None = None) -> WordTokenizer:
    return WordTokenizer.learn(LINES, vocab_size=vocab_size)


def test_words_are_numbered_by_how_often_they_occur() -> None:
    found = words()
    assert found.target_pieces(range(found.target_vocab_size)) == [
        *("<pad>", "<unk>", "<s>", "</s>"),
        *("the", "cat", "ran", "</s>", "dog", "sat"),
    ]
    assert found.encode_target(LINES) == [
        [4, 5, 9, 3],
        [3],
        [4, 5, 1, 6, 3],
        [4, 8, 7, 6, 3],  # a word that looks like a special one is a word of its own
    ]


def test_the_rarest_words_are_left_out_and_written_as_unknown() -> None:
    few = words(vocab_size=7)
    assert few.target_vocab_size == 7
    assert few.encode_source(["the dog ran zebra"]) == [[4, 1, 6, 1, 3]]
    assert few.decode([4, 1, 6, 3]) == "the <unk> ran"


@given(st.lists(st.lists(st.sampled_from(["the", "cat", "<unk>", "dog"]), max_size=5), max_size=4))
def test_known_words_come_back_with_one_blank_between_them(text: list[list[str]]) -> None:
    lines = [" ".join(line) for line in text]
    assert [words().decode(ids) for ids in words().encode_target(lines)] == lines


@given(LINE)
def test_bytes_bring_every_line_back(line: str) -> None:
    found = ByteTokenizer()
    [ids] = found.encode_target([line])
    assert found.decode(ids) == line
    assert len(ids) == len(line.encode()) + 1 and max(ids) < found.target_vocab_size


def test_bytes_that_are_no_text_do_not_break_a_line() -> None:
    found = ByteTokenizer()
    assert found.decode([4 + 0xC3, 4 + 0x0A, 4 + 0x41, 0, 2, 3]) == "\ufffd A"
    assert found.target_pieces([3, 4 + 0x41, 4 + 0x20]) == ["</s>", "A", "<0x20>"]
    assert found.encode_source(["\ud800"]) == found.encode_source(["\ufffd"])


@pytest.mark.parametrize("tokenizer", [words(), ByteTokenizer()])
def test_a_folder_brings_it_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    as_tokenizer: Tokenizer = tokenizer  # what a type checker sees
    assert as_tokenizer.source_vocab_size == tokenizer.source_vocab_size
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    ids = range(tokenizer.target_vocab_size)
    assert again.target_pieces(ids) == tokenizer.target_pieces(ids)
    assert again.encode_target(LINES) == tokenizer.encode_target(LINES)


def test_what_cannot_be_learned_or_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size = 11: the text has 6 words.*at most 10"):
        words(vocab_size=11)
    with pytest.raises(UserError, match="no words"):
        WordTokenizer.learn(["", " "], vocab_size=None)
    words().save(tmp_path)
    (tmp_path / "words.txt").write_text("two words\n")
    with pytest.raises(UserError, match=r"words\.txt has a line that is not one word"):
        load_tokenizer(tmp_path)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(UserError, match="missing or damaged"):
        load_tokenizer(tmp_path)
