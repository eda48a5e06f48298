from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.numbers import words
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.text.vocabulary import (
    DEFAULT_VOCAB_SIZE,
    character_counts,
    characters_within,
    coverage_of,
    sample_lines,
)

ENGLISH = [words(n, language="en") for n in range(0, 3000, 7)]
# 9,000 different characters, of which the first 1,000 make up 99% of the text.
MANY_CHARACTERS = [chr(0x4E00 + i) * 2 for i in range(9000)] + 1800 * [
    "".join(chr(0x4E00 + i) for i in range(1000))
]


def learn(lines: list[str], **settings: object) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.learn(TokenizerConfig.model_validate(settings), lines, lines)


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_a_vocabulary_too_large_for_the_text_names_the_largest_possible(model: str) -> None:
    with pytest.raises(UserError, match="supports at most") as caught:
        learn(ENGLISH, vocab_size=20_000, model=model)
    largest = int(str(caught.value).split("at most ")[1].split()[0])
    assert learn(ENGLISH, vocab_size=largest, model=model).source_vocab_size == largest


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_an_explicit_size_is_kept_exactly(model: str) -> None:
    assert learn(ENGLISH, vocab_size=300, model=model).source_vocab_size == 300


def test_without_a_size_a_short_text_gives_what_it_supports() -> None:
    assert 260 < learn(ENGLISH).source_vocab_size < DEFAULT_VOCAB_SIZE


def test_a_vocabulary_too_small_for_the_special_and_byte_pieces_says_what_is_needed() -> None:
    with pytest.raises(UserError, match=r"vocab_size = 100 is too small: 260 special and byte pieces"):
        learn(ENGLISH, vocab_size=100)
    assert learn(ENGLISH, vocab_size=100, byte_fallback=False).source_vocab_size == 100


def test_many_characters_leave_half_of_the_vocabulary_for_longer_pieces() -> None:
    tokenizer = learn(MANY_CHARACTERS, vocab_size=2260)
    pieces = tokenizer.source_pieces(range(tokenizer.source_vocab_size))
    assert 990 <= sum(len(piece) == 1 for piece in pieces) <= 1010


def test_asking_for_all_of_too_many_characters_is_an_error_that_says_so() -> None:
    with pytest.raises(UserError, match=r"9000 characters.*need 9260.*or lower tokenizer.character_coverage"):
        learn(MANY_CHARACTERS, vocab_size=2000, character_coverage=1.0)


@pytest.mark.parametrize("lines", [[], [""], ["", "", ""]])
def test_an_empty_text_is_an_error(lines: list[str]) -> None:
    with pytest.raises(UserError, match="text is empty"):
        learn(lines)


def test_a_single_character_is_enough_to_learn_from() -> None:
    assert learn(["a"]).decode(learn(["a"]).encode_target(["a b"])[0]) == "a b"


@given(lines=st.lists(st.text(), max_size=20))
def test_character_counts_are_those_of_a_counter(lines: list[str]) -> None:
    expected = sorted(Counter("".join(lines)).values(), reverse=True)
    assert character_counts(lines).tolist() == expected


@given(counts=st.lists(st.integers(1, 100), min_size=1), at_most=st.integers(1, 120))
def test_the_coverage_of_k_characters_takes_k_characters(counts: list[int], at_most: int) -> None:
    ordered = np.asarray(sorted(counts, reverse=True))
    coverage = coverage_of(ordered, at_most=at_most)
    assert 0 < coverage <= 1
    assert abs(characters_within(ordered, coverage) - min(at_most, len(counts))) <= 1  # rounding


@given(size=st.integers(0, 300), limit=st.integers(1, 100))
def test_a_sample_holds_lines_of_the_text_once_and_is_reproducible(size: int, limit: int) -> None:
    lines = [str(i) for i in range(size)]
    sample = sample_lines(iter(lines), limit=limit)
    assert len(sample) == min(size, limit) == len(set(sample))
    assert set(sample) <= set(lines)
    assert sample == sample_lines(iter(lines), limit=limit)


def test_late_lines_are_as_likely_in_a_sample_as_early_ones() -> None:
    sample = [int(line) for line in sample_lines(map(str, range(100_000)), limit=10_000)]
    share, _ = np.histogram(sample, bins=10, range=(0, 100_000))
    assert np.all(np.abs(share - 1000) < 5 * 30)  # five standard deviations of a binomial count
