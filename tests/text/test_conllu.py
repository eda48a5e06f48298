"""CoNLL-U, words with labels, and plain words: what is read, kept and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.errors import UserError
from saccade.text.conllu import Sentence, read_sentences

LINES = [
    "# newdoc id = d1",
    "# sent_id = s1",
    "# text = Don't go.",
    "1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No",
    "1\tDo\tdo\tAUX\tVB\tMood=Imp\t3\taux\t3:aux\t_",
    "2\tn't\tnot\tPART\tRB\tPolarity=Neg\t3\tadvmod\t3:advmod\t_",
    "3\tgo\tgo\tVERB\tVB\t_\t0\troot\t0:root\tSpaceAfter=No",
    "3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t3:conj\t_",
    "4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t3:punct\t_",
    "",
    "1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t0:root\t_",
    "",
]


def written(tmp_path: Path, lines: list[str], name: str = "a.conllu") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path, *, labels: bool = True, field: str = "upos") -> list[Sentence]:
    return list(read_sentences(path, field=field, labels=labels))  # type: ignore[arg-type]


def test_words_and_labels_are_read_without_ranges_and_empty_nodes(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, LINES))
    assert first.words == ("Do", "n't", "go", ".")
    assert first.labels == ("AUX", "PART", "VERB", "PUNCT")
    assert (first.number, second.number, second.words) == (1, 11, ("Yes",))
    assert read(written(tmp_path, LINES), field="feats")[0].labels == ("Mood=Imp", "Polarity=Neg", "_", "_")


def test_every_other_line_and_column_is_kept(tmp_path: Path) -> None:
    first, _ = read(written(tmp_path, LINES))
    assert first.labelled(first.labels, "upos") == LINES[:9]
    changed = first.labelled(("A", "B", "C", "D"), "xpos")
    cells = [line.split("\t") for line in changed]
    assert [cells[place][4] for place in (4, 5, 6, 8)] == ["A", "B", "C", "D"]
    for before, after in zip(LINES[:9], changed, strict=True):
        own, other = before.split("\t"), after.split("\t")
        assert [*own[:4], *own[5:]] == [*other[:4], *other[5:]]


def test_the_end_of_the_file_ends_a_sentence_and_blank_lines_may_repeat(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, ["", *LINES[:-1], "", "", LINES[10]]))) == 3


def test_two_columns_and_plain_words_are_read_too(tmp_path: Path) -> None:
    two = read(written(tmp_path, ["The\tDET", "town\tNOUN", "", "Yes\tINTJ"]))
    assert [one.words for one in two] == [("The", "town"), ("Yes",)]
    assert two[0].labelled(("X", "Y"), "upos") == ["The\tX", "town\tY"]
    plain = read(written(tmp_path, ["The old town", "", "# 1 is a number"]), labels=False)
    assert [one.words for one in plain] == [("The", "old", "town"), (), ("#", "1", "is", "a", "number")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: "2\tn't\tnot"}, ":6: 3 columns; a word in CoNLL-U has ten"),
        ({5: LINES[5].replace("2\t", "3\t", 1)}, ":6: the number '3' where word 2 is expected"),
        ({5: LINES[5].replace("2\t", "two\t", 1)}, ":6: the number 'two' where word 2"),
        ({7: LINES[7].replace("3.1", "5.1", 1)}, ":8: the number '5.1' where word 4"),
        ({3: LINES[3].replace("1-2", "2-3", 1)}, ":4: the number '2-3' where word 1"),
        ({3: LINES[3].replace("1-2", "1-9", 1)}, ":1: a range promises word 9, but the sentence has 4"),
        ({5: "# a comment"}, ":6: a comment inside a sentence"),
        ({5: LINES[5].replace("PART", "_", 1)}, ':6: the word "n\'t" has no label in column UPOS'),
        ({5: LINES[5].replace("n't", "", 1)}, ":6: word 2 has no form"),
        ({9: "# alone", 10: ""}, ":1: the number"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, change: dict[int, str], message: str) -> None:
    lines = [change.get(number, line) for number, line in enumerate(LINES)]
    if 10 in change:
        lines, message = ["# alone", "", *LINES], ":1: a sentence without words"
    with pytest.raises(UserError) as caught:
        read(written(tmp_path, lines))
    assert f"a.conllu{message}" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a\tb\tc"], ":1: 3 columns; CoNLL-U has ten"),
        (["a\tX", "b"], ":2: 1 columns; a line must be a word, a tab and its label"),
        (["a\tX", "b\t "], ":2: the word 'b' has no label in the second column"),
        (["just words"], ":1: no labels: give CoNLL-U"),
        ([], " is empty: there is nothing to read"),
    ],
)
def test_what_has_no_labels_is_refused_where_labels_are_needed(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        read(written(tmp_path, lines))
    assert f"a.conllu{message}" in str(caught.value)
