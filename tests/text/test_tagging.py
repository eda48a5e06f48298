"""Sentences as columns, the tokeniser that has their labels, and the report on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.corpus import Line
from saccade.text.examples import open_prepared_examples, prepare_examples
from saccade.text.inputs import padded_columns
from saccade.text.labelled import LabelledTokenizer
from saccade.text.tagging import (
    TaggedConfig,
    TaggedTokenizerConfig,
    learn_words,
    sentence_reader,
    spell,
    tagged_lines,
)
from saccade.text.tokenizer import load_tokenizer, save_preprocessor
from saccade.text.words import WordTokenizer

TEXT = "The\tDET\ntown\tNOUN\nsleeps\tVERB\n\nThe\tDET\nold\tADJ\ntown\tNOUN\n\nold\tADJ\n"


def tokenizer() -> LabelledTokenizer:
    return LabelledTokenizer(WordTokenizer(["the", "town"]), ["DET", "NOUN"], field="upos")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_spelling_is_bytes_between_marks(word: str) -> None:
    [row] = spell([word], 200).tolist()
    data = word.encode()
    assert row[: len(data) + 2] == [1, *(3 + byte for byte in data), 2]
    assert not any(row[len(data) + 2 :])


def test_the_middle_of_a_long_word_is_left_out() -> None:
    [row] = spell(["abcdefgh"], 7).tolist()
    assert row == [1, *(3 + byte for byte in b"abcgh"), 2]


def test_a_labelled_tokeniser_comes_back_and_its_labels_have_no_special_ids(tmp_path: Path) -> None:
    one = tokenizer()
    digests = save_preprocessor(one, tmp_path)
    other = load_tokenizer(tmp_path, digests=digests)
    assert isinstance(other, LabelledTokenizer)
    assert (other.labels, other.field) == (("DET", "NOUN"), "upos")
    assert other.encode_source(["the sea"]) == one.encode_source(["the sea"])
    assert other.encode_target(["NOUN DET"]) == [[1, 0]]
    assert other.decode([0, 1]) == "DET NOUN"


def test_damaged_labels_are_refused(tmp_path: Path) -> None:
    save_preprocessor(tokenizer(), tmp_path)
    for text in ("A\nA\n", "A\n\n", ""):
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(UserError, match=r"labels\.txt"):
            load_tokenizer(tmp_path)


def test_columns_have_a_row_for_each_word() -> None:
    reader = sentence_reader(tokenizer(), spelled=8)
    columns = padded_columns(reader.columns, reader.as_lines([["the", "sea"], ["town"]]))
    assert columns["source"].values.tolist() == [[4, 1], [5, 0]]
    assert columns["spelling"].values.shape == (2, 2, 8)
    assert columns["spelling"].values[1, 1].tolist() == [0] * 8
    assert reader.known(["the", "sea"]) == [True, False]


def prepared(tmp_path: Path, valid: str, **changes: object) -> object:
    (tmp_path / "train.tsv").write_text(TEXT)
    (tmp_path / "valid.tsv").write_text(valid)
    config = TaggedConfig(
        text=(tmp_path / "train.tsv",),
        valid_text=(tmp_path / "valid.tsv",),
        test_text=(tmp_path / "train.tsv",),
        **changes,  # type: ignore[arg-type]
    )
    settings = TaggedTokenizerConfig()

    def learn(lines: object) -> LabelledTokenizer:
        return learn_words(lines, settings, field="upos")  # type: ignore[arg-type]

    return prepare_examples(
        config,
        out=tmp_path / "out",
        read=lambda path: tagged_lines(path, field="upos"),
        learn=learn,
        columns=lambda learned: sentence_reader(learned, spelled=None).with_labels,
        least=1,
    )


def test_examples_are_prepared_counted_and_opened(tmp_path: Path) -> None:
    prepared(tmp_path, "old\tADJ\n\nsea\tNOUN\n")
    found = open_prepared_examples(tmp_path / "out")
    assert found.tokenizer.labels == ("ADJ", "DET", "NOUN", "VERB")
    assert found.tokenizer.source.source_pieces(range(4, 7)) == ["The", "old", "town"]
    assert found.report.train.labels == {"ADJ": 2, "DET": 2, "NOUN": 2, "VERB": 1}
    assert (found.report.train.unknown, found.report.train.examples) == (1, 3)
    assert found.report.valid is not None
    assert (found.report.valid.seen, found.report.test_seen) == (1, (3, 3))
    assert np.array_equal(found.train["labels"].lengths, found.train["source"].lengths)


def test_a_label_that_only_the_validation_text_has_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"valid\.tsv:3: the label 'X' does not occur in the training text"):
        prepared(tmp_path, "old\tADJ\n\nsea\tX\n")


def test_long_sentences_are_dropped_and_counted(tmp_path: Path) -> None:
    prepared(tmp_path, "old\tADJ\n", max_length=1)
    report = open_prepared_examples(tmp_path / "out").report
    assert report.train.dropped == {"too long": 2}
    assert any("dropped, too long: 2" in line for line in report.summary())


def test_no_usable_sentence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no validation example can be used"):
        prepared(tmp_path, "old\tADJ\nold\tADJ\n", max_length=1)


def test_a_line_without_labels_is_enough_to_be_read() -> None:
    line = sentence_reader(tokenizer(), spelled=None).as_lines([["the"]])[0]
    assert isinstance(line, Line)
