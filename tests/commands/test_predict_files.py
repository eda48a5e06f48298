"""saccade predict and attention with models that read files or tables: lines, JSON, scores, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.model_folder.checkpoint import save_model
from tests.commands.conftest import Run, refused
from tests.framed import frame_classifier, recogniser, write_arrays
from tests.tables import HEADER, ranker, write_lists


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser, a classifier of arrays and a ranker, with random weights, and what they read."""
    folder = tmp_path_factory.mktemp("models")
    model = recogniser()
    model.decoding["max_length"] = 5
    for name, one in {"recogniser": model, "labeller": frame_classifier(), "ranker": ranker("list")}.items():
        save_model(folder / name, one)
    write_arrays(folder, [9, 4])
    (folder / "texts.tsv").write_text("0.npy\tab\n1.npy\tc a\n")
    (folder / "labels.tsv").write_text("0.npy\teven\n1.npy\todd\n")
    write_lists(folder / "table.csv", count=3, seed=1)
    return folder


def test_a_manifest_is_read_and_one_is_written(saccade: Run, folder: Path) -> None:
    for name, manifest in (("recogniser", "texts.tsv"), ("labeller", "labels.tsv")):
        result = saccade("predict", folder / name, folder / manifest)
        assert result.code == 0, result.err
        assert [line.partition("\t")[0] for line in result.lines] == ["0.npy", "1.npy"]
        single = saccade("predict", folder / name, folder / "0.npy")
        assert single.lines[0].partition("\t")[2] == result.lines[0].partition("\t")[2]


def test_files_and_lists_are_objects_in_json(saccade: Run, folder: Path) -> None:
    wanted = {
        "recogniser": {"file", "text", "log_prob", "problem"},
        "labeller": {"file", "label", "probabilities", "problem"},
        "ranker": {"rows", "probabilities", "ranks", "problem"},
    }
    for name, keys in wanted.items():
        file = "table.csv" if name == "ranker" else "texts.tsv"
        result = saccade("predict", folder / name, folder / file, "--json")
        assert result.code == 0, result.err
        assert all(json.loads(line).keys() == keys for line in result.lines)


def test_rows_get_a_probability_and_a_rank(saccade: Run, folder: Path) -> None:
    result = saccade("predict", folder / "ranker", folder / "table.csv")
    assert result.code == 0, result.err
    assert len(result.lines) == len((folder / "table.csv").read_text().split("\n")) - 2
    assert all(0 <= float(line.split("\t")[0]) <= 1 and int(line.split("\t")[1]) > 0 for line in result.lines)


def test_scores_have_their_names(saccade: Run, folder: Path, tmp_path: Path) -> None:
    for name, file, first in (
        ("recogniser", "texts.tsv", "CER"),
        ("labeller", "labels.tsv", "accuracy"),
        ("ranker", "table.csv", "log-loss"),
    ):
        result = saccade("predict", folder / name, folder / file, "--score")
        assert result.code == 0 and result.lines[0].startswith(first), result.err
    pytest.importorskip("matplotlib")
    words = ("predict", folder / "recogniser", folder / "texts.tsv", "--confusion", tmp_path / "a.png")
    refused(saccade(*words), "transcripts have no confusion matrix")


def test_attention_is_a_page_or_a_picture(saccade: Run, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, shown in (("recogniser", "0.npy"), ("labeller", "0.npy"), ("ranker", "table.csv")):
        page = tmp_path / f"{name}.html"
        result = saccade("attention", folder / name, folder / shown, "--out", page)
        assert result.code == 0, result.err
    picture = tmp_path / "a.png"
    assert saccade("attention", folder / "recogniser", folder / "0.npy", "--out", picture).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused(
        saccade("attention", folder / "ranker", folder / "table.csv", "--out", picture), "only a translation"
    )
    words = ("attention", folder / "recogniser", folder / "0.npy", "--out", picture, "--target", "a")
    refused(saccade(*words), "has no target")


def test_what_cannot_be_read_is_one_message(saccade: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("none.npy\tab\n")
    result = saccade("predict", folder / "recogniser", tmp_path / "a.tsv")
    assert result.code == 0 and "none.npy: no such file." in result.err
    refused(saccade("predict", folder / "recogniser", tmp_path / "a.tsv", "--score"), "a.tsv:1: ")
    refused(saccade("attention", folder / "labeller", tmp_path / "none.npy"), "no such file")
    (tmp_path / "a.csv").write_text(HEADER.replace("price", "cost") + "1,a,x,2,,1\n")
    refused(saccade("predict", folder / "ranker", tmp_path / "a.csv"), "a.csv:1: no column price")
    refused(saccade("translate", folder / "recogniser", tmp_path / "a.tsv"), "Use `saccade predict`.")
