"""Pieces joined to words."""

from __future__ import annotations

import pytest

from saccade.inspection.words import tokens_of
from saccade.text.words import ByteTokenizer, WordTokenizer
from tests.tiny import LINES, sentence_pieces


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ("▁the ▁do g ▁sees . </s>", ["the", "dog", "sees", ".", "</s>"]),
        ("▁don ' t ▁stop ! ! </s>", ["don't", "stop", "!", "!", "</s>"]),
        ("▁six ty - eigh t , </s>", ["sixty-eight", ",", "</s>"]),
        ("▁ acht und </s>", ["achtund", "</s>"]),
        ("▁ 狗 在 跑 。 </s>", ["狗", "在", "跑", "。", "</s>"]),
        ("▁Stra <0xC3> <0x9F> e </s>", ["Straße", "</s>"]),
        ("__en__ ▁a ▁cat </s> eng_Latn", ["__en__", "a", "cat", "</s>", "eng_Latn"]),
        ("</s>", ["</s>"]),
        ("▁ </s>", ["␣", "</s>"]),
    ],
)
def test_pieces_of_sentencepiece_become_words(pieces: str, words: list[str]) -> None:
    found = tokens_of(sentence_pieces(), pieces.split(" "))
    assert list(found.words) == words
    assert found.numbers[0] == 0 and found.numbers[-1] == len(words) - 1
    assert all(
        later - earlier in (0, 1) for earlier, later in zip(found.numbers, found.numbers[1:], strict=False)
    )


def test_words_and_bytes_have_their_own_rules() -> None:
    words = WordTokenizer.learn([line.lower() for line in LINES], vocab_size=None)
    assert tokens_of(words, ["the", "dog", "</s>"]).words == ("the", "dog", "</s>")
    own = ByteTokenizer()
    pieces = own.source_pieces(own.encode_source(["a dög"])[0])
    assert tokens_of(own, pieces).words == ("a", "dög", "</s>")


def test_nothing_has_no_words() -> None:
    assert tokens_of(sentence_pieces(), []).words == ()
