"""Pieces and the words they belong to, for every tokeniser, against the text that the pieces spell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.text.tokenizer import SentencePieceTokenizer, Tokenizer, TokenizerConfig
from saccade.text.word_pieces import word_numbers
from saccade.text.words import ByteTokenizer, WordTokenizer
from tests.tiny import LINES, sentence_pieces

WORDS = st.lists(st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1), max_size=6)


def numbers(tokenizer: Tokenizer, line: str) -> list[int]:
    [found] = word_numbers(tokenizer, [line], tokenizer.encode_source([line]), side="source")
    return found


def spelled(tokenizer: Tokenizer, line: str) -> list[str]:
    """The text of the pieces of each word, blanks left out."""
    [ids] = tokenizer.encode_source([line])
    groups: dict[int, list[int]] = {}
    for number, place in zip(ids, numbers(tokenizer, line), strict=True):
        groups.setdefault(place, []).append(number)
    groups.pop(-1)
    assert list(groups) == list(range(len(groups)))
    return [tokenizer.decode(own).strip() for own in groups.values()]


@given(WORDS)
def test_the_pieces_of_each_word_spell_it(words: list[str]) -> None:
    words = [word for word in words if word.strip() and "\u2581" not in word and word.split() == [word]]
    for tokenizer in (sentence_pieces(), ByteTokenizer()):
        assert spelled(tokenizer, " ".join(words)) == words


@pytest.mark.parametrize("line", ["  the dog  sees ", "the dog\u00a0sees\ta cat", "\u3000the dog"])
def test_blanks_of_every_kind_separate_words(line: str) -> None:
    found = numbers(sentence_pieces(), line)
    assert max(found) == len(line.split()) - 1
    assert found[-1] == -1
    words = [number for number in found if number >= 0]
    assert words == sorted(words)


def test_the_end_symbol_and_blanks_at_the_end_have_no_word() -> None:
    assert numbers(ByteTokenizer(), "a b ") == [0, 1, 1, -1, -1]
    assert numbers(ByteTokenizer(), "") == [-1]
    assert set(numbers(sentence_pieces(), "   ")) == {-1}


def test_whole_words_and_unknown_words_have_the_number_of_their_place() -> None:
    tokenizer = WordTokenizer(["dog", "sees"])
    assert numbers(tokenizer, "dog strange  sees") == [0, 1, 2, -1]


def test_characters_without_a_piece_count_for_their_word() -> None:
    settings = TokenizerConfig(vocab_size=90, byte_fallback=False)
    tokenizer = SentencePieceTokenizer.learn(settings, LINES, LINES)
    line = "the \u2603 dog\u2603s"
    pieces = tokenizer.source_pieces(tokenizer.encode_source([line])[0])
    found = numbers(tokenizer, line)
    assert pieces.count("<unk>") == 2
    assert sorted(set(found)) == [-1, 0, 1, 2]
    assert [place for place, piece in zip(found, pieces, strict=True) if piece == "<unk>"] == [1, 2]


class Languages:
    """Pieces between a language and the end, whose unknown piece swallows the blank before it."""

    unknown, end = 1, 3
    known: ClassVar = {"a": 4, "b": 5, "long": 6}

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        return [[9, *(self.known.get(word, 1) for word in line.split()), 3] for line in lines]

    encode_target = encode_source

    def source_pieces(self, ids: Sequence[int]) -> list[str]:
        names = {number: f"\u2581{word}" for word, number in self.known.items()}
        return [names.get(number, "<unk>") for number in ids]

    target_pieces = source_pieces


def test_a_language_in_front_has_no_word_and_an_unknown_word_keeps_its_place() -> None:
    tokenizer: Tokenizer = Languages()  # type: ignore[assignment]
    for line in ("a strange long b", "strange a", "b"):
        [ids] = tokenizer.encode_source([line])
        [found] = word_numbers(tokenizer, [line], [ids], side="target")
        assert found == [-1, *range(len(line.split())), -1]


def test_a_sampled_segmentation_has_the_same_words() -> None:
    settings = TokenizerConfig(vocab_size=300, sampling=0.5)
    tokenizer = SentencePieceTokenizer.learn(settings, LINES, LINES)
    usual, sampled = tokenizer.encode_source(LINES[:9]), tokenizer.encode_source(LINES[:9], sampling_seed=3)
    assert usual != sampled
    for one, other in zip(
        word_numbers(tokenizer, LINES[:9], usual, side="source"),
        word_numbers(tokenizer, LINES[:9], sampled, side="source"),
        strict=True,
    ):
        assert set(one) == set(other)


def test_words_that_normalisation_splits_keep_their_number() -> None:
    settings = TokenizerConfig(vocab_size=300, normalization="nmt_nfkc")
    tokenizer = SentencePieceTokenizer.learn(settings, LINES, LINES)
    assert spelled(tokenizer, "the\u00a0dog  sees") == ["the", "dog", "sees"]
    # A blank without width separates pieces, but Python and other programs see one word.
    assert spelled(tokenizer, "the seven\u200bbooks sees") == ["the", "seven books", "sees"]
