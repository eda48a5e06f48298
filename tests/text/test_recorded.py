"""Manifests and the preparation of what they name: the report, and lines that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.errors import UserError
from saccade.runs.experiment import check, read_experiment, warnings
from saccade.text.framed import FrameTokenizer
from saccade.text.manifest import read_manifest
from saccade.text.recorded import RecordedReport, open_prepared_recorded
from tests.framed import ARRAYS, WIDTH, write_manifest

TINY = ["tokenizer.reads=arrays", f"tokenizer.width={WIDTH}", "model.preset=tiny"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(tmp_path, "train", count=12, seed=1)
    write_manifest(tmp_path, "valid", count=4, seed=2)
    return tmp_path


def plan(folder: Path, *more: str, kind: str = "recogniser"):  # type: ignore[no-untyped-def]
    end = "" if kind == "recogniser" else "-labels"
    files = [
        f"data.{key}={folder / name}{end}.tsv" for key, name in (("text", "train"), ("valid_text", "valid"))
    ]
    return read_experiment(overrides=[f"model.kind={kind}", *files, *TINY, *more])


def test_a_manifest_names_files_beside_itself(folder: Path) -> None:
    found = list(read_manifest(folder / "train.tsv", answers=True))
    assert found[0].path == folder / "train-0.npy" and found[0].name == "train-0.npy"
    assert found[1].place == f"{folder / 'train.tsv'}:2"
    [single] = read_manifest(folder / "train-0.npy", answers=False)
    assert single.path == folder / "train-0.npy" and single.answer == ""
    with pytest.raises(UserError, match="a file by itself has no answer"):
        list(read_manifest(folder / "train-0.npy", answers=True))


@pytest.mark.parametrize("line", ["", "\ta", "a.npy", "a.npy\t ", "a.npy\ta\tb"])
def test_a_line_without_its_columns_is_refused_with_its_number(folder: Path, line: str) -> None:
    (folder / "a.tsv").write_text(f"train-0.npy\ta\n{line}\n")
    with pytest.raises(UserError, match=r"a\.tsv:2: \d columns; a line must be a file, a tab and its answer"):
        list(read_manifest(folder / "a.tsv", answers=True))


def test_what_is_prepared_is_what_the_files_hold(folder: Path) -> None:
    experiment = plan(folder)
    report = check(experiment, folder / "out")
    assert isinstance(report, RecordedReport)
    prepared = open_prepared_recorded(folder / "out")
    np.testing.assert_array_equal(prepared.train["source"].line(3), np.load(folder / "train-3.npy"))
    text = (folder / "train.tsv").read_text().split("\n")[3].split("\t")[1]
    ids = prepared.train["target"].line(3).tolist()
    assert ids[-1] == prepared.tokenizer.end and prepared.tokenizer.decode(ids) == text
    assert sum(report.train.answers.values()) == sum(
        len(line.split("\t")[1]) for line in (folder / "train.tsv").read_text().strip("\n").split("\n")
    )
    assert any("validation: 4 files" in line for line in report.summary())
    assert report.valid is not None and report.valid.seen == 0


def test_the_same_file_in_training_and_validation_is_pointed_out(folder: Path) -> None:
    (folder / "valid-0.npy").write_bytes((folder / "train-5.npy").read_bytes())
    experiment = plan(folder)
    report = check(experiment, folder / "out")
    assert any(
        "1 of 4 validation files are also in the training set" in one for one in warnings(experiment, report)
    )


def test_long_files_are_dropped_and_counted_and_characters_that_are_new_are_pointed_out(folder: Path) -> None:
    np.save(folder / "short.npy", np.zeros((2, WIDTH)))
    with (folder / "valid.tsv").open("a") as stream:
        stream.write("short.npy\tz\n")
    experiment = plan(folder, "data.max_length=6")
    report = check(experiment, folder / "out")
    assert any("dropped, too long" in line for line in report.summary())
    assert any(
        "1 characters of the validation texts do not occur" in one for one in warnings(experiment, report)
    )


def test_a_file_that_cannot_be_read_is_named_with_the_manifests_line(folder: Path) -> None:
    (folder / "train-1.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"train\.tsv:2: .*train-1\.npy: not an NPY file"):
        check(plan(folder), folder / "out")
    (folder / "train-1.npy").unlink()
    with pytest.raises(UserError, match=r"train\.tsv:2: .*train-1\.npy: no such file"):
        check(plan(folder), folder / "out")


def test_a_validation_label_that_training_lacks_is_refused(folder: Path) -> None:
    with (folder / "valid-labels.tsv").open("a") as stream:
        stream.write("valid-0.npy\tprime\n")
    with pytest.raises(UserError, match=r"valid-labels\.tsv:5: the label 'prime' does not occur"):
        check(plan(folder, kind="frame-classifier"), folder / "out")


def test_a_tokeniser_comes_back(tmp_path: Path) -> None:
    tokenizer = FrameTokenizer(ARRAYS, " a\u2028字")
    tokenizer.save(tmp_path)
    again = FrameTokenizer.load(tmp_path)
    assert (again.characters, again.config) == (tokenizer.characters, ARRAYS)
    [ids] = again.encode_target(["字 az"])
    assert again.decode(ids) == "字 a\N{REPLACEMENT CHARACTER}"
    (tmp_path / "characters.txt").write_text("ab\n")
    with pytest.raises(UserError, match="a line that is not one character"):
        FrameTokenizer.load(tmp_path)
    with pytest.raises(UserError, match="reads arrays and no text"):
        tokenizer.encode_source(["a"])
