"""WordPiece: cutting, symbols in a text, learning and files. Comparisons: `tests/interop/test_bert.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.text.tokenizer import load_tokenizer, save_preprocessor
from saccade.text.wordpiece import SPECIAL, WordPieceConfig, WordPieceTokenizer

PIECES = [*SPECIAL, "un", "##aff", "##able", "a", ",", "##b"]


def test_the_longest_pieces_are_taken_from_left_to_right() -> None:
    one = WordPieceTokenizer(PIECES, WordPieceConfig())
    assert one.source_pieces(one.cut("Unaffable, ab")) == ["un", "##aff", "##able", ",", "a", "##b"]
    assert one.cut("unaffect") == [one.unknown]
    assert one.cut("a" * 101) == [one.unknown]
    assert one.decode(one.encode_source(["unaffable , ab"])[0]) == "unaffable , ab"


def test_a_symbol_in_a_text_is_that_symbol() -> None:
    one = WordPieceTokenizer(PIECES, WordPieceConfig())
    assert one.encode_source(["a[MASK]a [SEP]"]) == [[one.start, 8, one.mask, 8, one.end, one.end]]


def test_learned_pieces_cut_every_word_of_their_text(tmp_path: Path) -> None:
    lines = ["the old town sleeps", "the town , the sleepers", "老城 sleeping"] * 5
    one = WordPieceTokenizer.learn(lines, vocab_size=40, config=WordPieceConfig())
    assert all(one.unknown not in one.cut(line) for line in lines)
    assert [one.decode(one.cut(line)) for line in lines[:2]] == lines[:2]
    assert one.source_pieces(range(5)) == list(SPECIAL)
    digests = save_preprocessor(one, tmp_path)
    other = load_tokenizer(tmp_path, digests=digests)
    assert other.encode_source(lines) == one.encode_source(lines)


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    save_preprocessor(WordPieceTokenizer(PIECES, WordPieceConfig()), tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"the vocabulary lacks \[PAD\]"):
        load_tokenizer(tmp_path)
