"""Inputs with positions as their answer: lines, columns, the report, and lines that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import UserError
from saccade.text.corpus import Line
from saccade.text.inputs import padded_columns
from saccade.text.pointed_examples import PointedConfig, open_prepared_tasks, prepare_tasks
from saccade.text.pointing import as_text, parse_answer, parse_inputs, read_tasks, task_columns
from saccade.text.positions import InputPositions
from saccade.text.tokenizer import load_preprocessor, save_preprocessor

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6))
def test_numbers_come_back_from_their_text(points: list[tuple[float, float]]) -> None:
    inputs = np.array(points, dtype=np.float32).reshape(-1, 2)
    assert np.array_equal(parse_inputs(as_text(inputs), numbers=2, place="x"), inputs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.1,0.2", "1 columns; a line must be the inputs, a tab and the positions"),
        ("0.1,0.2\t1\t1", "3 columns"),
        ("0.1,0.2 0.3\t1", "input 2 is '0.3', which is 1 and not 2 numbers"),
        ("0.1,0.2,0.3\t1", "input 1 is '0.1,0.2,0.3', which is 3 and not 2 numbers"),
        ("0.1,a\t1", "input 1 is '0.1,a'; write numbers"),
        ("0.1,\t1", "input 1 is '0.1,'; write numbers"),
        ("0.1,nan\t1", "input 1 is '0.1,nan'; write numbers"),
        ("0.1,1e300\t1", "a number is too large for float32"),
        ("0.1,0.2\t2", "the answer has position 2, but the inputs have positions 1 to 1"),
        ("0.1,0.2\t0", "the answer has position 0, but"),
        ("0.1,0.2\t-1", "the answer has position -1, but"),
        ("0.1,0.2\tone", "the answer 'one' has to be whole numbers"),
        ("0.1,0.2\t", "the answer has 0 positions for 1 inputs; from 1 to 2 are possible"),
        ("0.1,0.2\t1 1 1", "the answer has 3 positions for 1 inputs"),
        ("\t1", "there are no inputs before the tab"),
    ],
)
def test_a_line_of_another_form_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0.5,0.5 0.1,0.1\t2 1\n{line}\n")
    with pytest.raises(UserError) as caught:
        prepare_tasks(PointedConfig(text=(file,)), numbers=2, out=tmp_path / "out")
    assert str(caught.value).startswith(f"{file}:2: ")
    assert message in str(caught.value)


def test_columns_are_numbers_and_positions_with_an_end() -> None:
    files = dict.fromkeys(("source", "target"), Path("x"))
    lines = [
        Line({"source": "1,2 3,4", "target": "2 1"}, files, 1),
        Line({"source": "5,6", "target": "1"}, files, 2),
    ]
    columns = padded_columns(task_columns(2), lines)
    assert columns["source"].values.tolist() == [[[1, 2], [3, 4]], [[5, 6], [0, 0]]]
    assert columns["target"].values.tolist() == [[2, 1, 0], [1, 0, 0]]
    assert columns["target"].lengths.tolist() == [3, 2]


def test_examples_are_prepared_counted_and_opened(tmp_path: Path) -> None:
    train, valid = tmp_path / "train.txt", tmp_path / "valid.txt"
    train.write_text("0.5 0.1\t2 1\n-3\t1\n1 2 3 4\t1 2 3 4\n")
    valid.write_text("0.5 0.1\t2 1\n7\t1\n")
    config = PointedConfig(text=(train,), valid_text=(valid,), test_text=(valid,), max_length=3)
    report = prepare_tasks(config, numbers=1, out=tmp_path / "out")
    found = open_prepared_tasks(tmp_path / "out")
    assert found.report == report
    assert (report.train.examples, report.train.positions, report.train.answers) == (2, 3, 3)
    assert (report.train.lowest, report.train.highest) == (-3.0, 0.5)
    assert report.train.dropped == {"too long": 1}
    assert report.valid is not None
    assert (report.valid.seen, report.test_seen) == (1, (2, 1))
    assert found.train["target"].line(0).tolist() == [2, 1, 0]
    assert any("dropped, too long: 1" in line for line in report.summary())


def test_prepared_examples_of_another_width_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0.5 0.1\t2 1\n")
    prepare_tasks(PointedConfig(text=(file,)), numbers=1, out=tmp_path / "out")
    report = tmp_path / "out" / "report.json"
    report.write_text(report.read_text().replace('"numbers": 1', '"numbers": 2'))
    with pytest.raises(UserError, match="its inputs do not have 2 numbers"):
        open_prepared_tasks(tmp_path / "out")


def test_answers_may_be_given_and_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1 2\n3\t1\n")
    assert [one.inputs for one in read_tasks(file, answers=False)] == ["1 2", "3"]
    assert parse_answer("2 1 2", inputs=2, place="x") == [2, 1, 2]


def test_a_preprocessor_of_positions_comes_back(tmp_path: Path) -> None:
    one = InputPositions()
    other = load_preprocessor(tmp_path, digests=save_preprocessor(one, tmp_path))
    assert isinstance(other, InputPositions)
    assert vars(other) == vars(one)
