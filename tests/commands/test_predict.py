"""saccade predict: files of sentences in, files with labels out, scores, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from saccade.model_folder.checkpoint import save_model
from saccade.use.tagger import WordLabeller
from tests import tiny
from tests.commands.conftest import Run, refused
from tests.labelled import bert, classifier, pointer, tagger
from tests.test_generator import model as language_model
from tests.test_tagger import CONLLU


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger, a translator and a language model, with random weights."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "bert": bert(),
        "classifier": classifier(),
        "pointer": pointer(),
        "tagger": tagger(),
        "translator": tiny.model(),
        "lm": language_model("transformer-xl"),
    }
    for name, one in models.items():
        save_model(folder / name, one)
    return folder


@pytest.fixture
def conllu(tmp_path: Path) -> Path:
    path = tmp_path / "a.conllu"
    path.write_text(CONLLU)
    return path


def test_labels_are_filled_in_and_everything_else_stays(saccade: Run, folder: Path, conllu: Path) -> None:
    result = saccade("predict", folder / "tagger", conllu)
    assert result.code == 0, result.err
    before = [line.split("\t") for line in CONLLU.split("\n")]
    after = [line.split("\t") for line in result.text.split("\n")]
    assert [[*cells[:3], *cells[4:]] for cells in before] == [[*cells[:3], *cells[4:]] for cells in after]
    labels = [cells[3] for cells in after if len(cells) == 10]
    own = WordLabeller.load(folder / "tagger", device="cpu").predict(["the old town", "sleeps"])
    assert labels == [label for one in own for label in one.labels]


def test_plain_sentences_become_words_with_labels(saccade: Run, folder: Path) -> None:
    result = saccade("predict", folder / "tagger", stdin=b"the old town\n\nsleeps\n")
    assert result.code == 0, result.err
    assert [line.partition("\t")[0] for line in result.lines] == ["the", "old", "town", "", "", "sleeps", ""]


def test_json_has_an_object_a_sentence(saccade: Run, folder: Path, conllu: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = saccade("predict", folder / "tagger", conllu, "--json", "--output", out)
    assert (result.code, result.text) == (0, "")
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["words"] for one in found] == [["the", "old", "town"], ["sleeps"]]
    assert all(one.keys() == {"words", "labels", "log_prob", "problem"} for one in found)


def test_scores_are_printed_and_drawn(saccade: Run, folder: Path, conllu: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "confusion.png"
    result = saccade("predict", folder / "tagger", conllu, "--confusion", picture)
    assert result.code == 0, result.err
    assert result.lines[0].startswith("accuracy") and result.lines[0].endswith("of 4")
    assert picture.read_bytes().startswith(b"\x89PNG")
    scores = json.loads(saccade("predict", folder / "tagger", conllu, "--score", "--json").text)
    assert sum(map(sum, scores["confusion"])) == scores["count"] == 4


def test_the_attention_of_a_tagger_is_a_page(saccade: Run, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = saccade("attention", folder / "tagger", "the old town", "--out", page)
    assert result.code == 0, result.err
    assert "town" in page.read_text()
    words = ("attention", folder / "tagger", "the old town", "--out")
    refused(saccade(*words, page, "--target", "DET"), "has no target")
    refused(saccade(*words, page, "--set", "model.memory=3"), "has no settings to change")
    refused(saccade(*words, tmp_path / "a.png"), "only a translation can be drawn")


def test_models_that_write_are_refused_with_the_command_that_they_have(
    saccade: Run, folder: Path, conllu: Path
) -> None:
    refused(saccade("predict", folder / "translator", conllu), "saccade translate")
    refused(saccade("predict", folder / "lm", conllu), "saccade generate")
    refused(saccade("translate", folder / "tagger", conllu), "Use `saccade predict`.")
    refused(saccade("generate", folder / "tagger"), "Use `saccade predict`.")


def test_a_malformed_file_is_one_message_with_its_line(saccade: Run, folder: Path, conllu: Path) -> None:
    conllu.write_text(CONLLU.replace("2\told", "7\told"))
    refused(saccade("predict", folder / "tagger", conllu), "a.conllu:3: the number '7' where word 2")
    conllu.write_text(CONLLU.replace("ADJ", "_"))
    unlabelled = saccade("predict", folder / "tagger", conllu, "--score")
    refused(unlabelled, "a.conllu:3: the word 'old' has no label")


def test_a_gap_is_filled(saccade: Run, folder: Path) -> None:
    result = saccade("predict", folder / "bert", "--fill", "the [MASK] town , [MASK]", "--top", 2)
    assert result.code == 0, result.err
    assert [len(line.split()) > 2 for line in result.lines] == [True, True, False, True, True]
    found = json.loads(saccade("predict", folder / "bert", "--fill", "[MASK]", "--json").text)
    assert len(found[0]) == 5 and found[0][0].keys() == {"piece", "probability", "text"}
    refused(saccade("predict", folder / "bert", "--fill", "the town"), "has no gap: write [MASK]")
    refused(saccade("predict", folder / "tagger", "--fill", "the [MASK]"), "fills no masked places")


def test_vectors_are_arrays_without_pickles(saccade: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npz"
    result = saccade("predict", folder / "bert", "--embeddings", out, stdin=b"the town\nsleeping\n")
    assert result.code == 0, result.err
    arrays = np.load(out, allow_pickle=False)
    assert arrays["vectors"].shape == (2, 12)
    assert arrays["offsets"].tolist() == [0, 4, 8]
    assert arrays["pieces"].tolist() == ["[CLS]", "the", "town", "[SEP]", "[CLS]", "sleep", "##ing", "[SEP]"]
    np.testing.assert_allclose(arrays["states"][:4].mean(0), arrays["vectors"][0], atol=1e-6)
    wrong = saccade("predict", folder / "bert", "--embeddings", tmp_path / "a.txt", stdin=b"the\n")
    refused(wrong, "must end in .npz")


def test_gaps_of_a_file_are_filled_line_by_line(saccade: Run, folder: Path) -> None:
    result = saccade("predict", folder / "bert", stdin=b"the town\nthe [MASK]\n")
    assert result.code == 0, result.err
    assert result.lines[0] == "the town" and "[MASK]" not in result.lines[1]


def test_texts_get_a_label_in_front(saccade: Run, folder: Path, tmp_path: Path) -> None:
    result = saccade("predict", folder / "classifier", stdin=b"the town\n\nold\n")
    assert result.code == 0, result.err
    assert [line.split("\t")[1] for line in result.lines] == ["the town", "", "old"]
    file = tmp_path / "a.tsv"
    file.write_text("news\tthe town\n")
    assert saccade("predict", folder / "classifier", file, "--score").lines[0].startswith("accuracy")
    page = tmp_path / "a.html"
    assert saccade("attention", folder / "classifier", "the town", "--out", page).code == 0


def test_two_things_at_once_are_refused(saccade: Run, folder: Path) -> None:
    words = ("--fill", "[MASK]", "--score")
    refused(saccade("predict", folder / "bert", *words), "ask for one of them")


def test_a_pointer_network_adds_positions_to_its_inputs(saccade: Run, folder: Path, tmp_path: Path) -> None:
    result = saccade("predict", folder / "pointer", stdin=b"0.10,0.5 0.2,.7\n\n0.3,0.9\t1\n")
    assert result.code == 0, result.err
    assert [line.partition("\t")[0] for line in result.lines] == ["0.10,0.5 0.2,.7", "", "0.3,0.9"]
    file = tmp_path / "tasks.txt"
    file.write_text("0.1,0.5 0.2,0.7 0.4,0.1\t1 3 2\n0.1,0.5 0.2,0.7 0.9,0.1\t3 2 1\n")
    scores = json.loads(saccade("predict", folder / "pointer", file, "--score", "--json").text)
    assert scores["count"] == 2
    assert 0 <= scores["exact"] <= scores["polygon"] <= 1
    out = saccade("predict", folder / "pointer", "--json", stdin=b"0.1,0.5 0.2,0.7\n")
    assert json.loads(out.text).keys() == {"inputs", "positions", "log_prob", "problem"}
    refused(
        saccade("predict", folder / "pointer", stdin=b"0.1,0.5 0.2\n"), "standard input:1: input 2 is '0.2'"
    )
