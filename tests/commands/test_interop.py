"""saccade import and saccade export, and translating with what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.conftest import Run, refused
from tests.interop.published import many, opus, text

pytest.importorskip("transformers")

LINES = "".join(f"{line}\n" for line in text("en", 4)).encode()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    opus(folder / "opus")
    many(folder / "nllb", nllb=True)
    return folder


def test_a_published_folder_becomes_a_model_that_translates(
    saccade: Run, published: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    result = saccade("import", published / "opus", "--out", model)
    assert result.code == 0, result.err
    assert result.lines[0].startswith("marian: ") and result.lines[1] == f"Model: {model}"
    result = saccade("translate", model, "--max-length", 9, "--beam", 1, stdin=LINES)
    assert result.code == 0 and len(result.lines) == 4
    provenance = json.loads((model / "model.json").read_text())["provenance"]
    assert "source.spm" in provenance["files"] and str(tmp_path) not in str(provenance)


def test_languages_are_stored_and_can_be_changed(saccade: Run, published: Path, tmp_path: Path) -> None:
    model, languages = tmp_path / "model", ("--source-language", "eng_Latn", "--target-language", "deu_Latn")
    assert saccade("import", published / "nllb", *languages, "--out", model).code == 0
    for options, language in (((), "deu_Latn"), (("--target-language", "fra_Latn"), "fra_Latn")):
        result = saccade("translate", model, "--json", "--max-length", 9, *options, stdin=LINES)
        assert {json.loads(line)["tokens"][0] for line in result.lines} == {language}
    refused(saccade("translate", model, "--target-language", "german", stdin=LINES), "german", "deu_Latn")


def test_a_model_without_languages_has_none_to_choose(saccade: Run, run_folder: Path) -> None:
    refused(saccade("translate", run_folder, "--target-language", "de", stdin=b"a\n"), "no languages")


def test_nothing_is_written_where_something_is_or_nothing_can_be_read(
    saccade: Run, published: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    refused(saccade("import", published / "opus", "--out", tmp_path / "full"), "not an empty folder")
    refused(saccade("import", tmp_path / "nowhere", "--out", tmp_path / "out"), "no such folder")
    refused(saccade("import", tmp_path / "full", "--out", tmp_path / "out"), "config.json", "not found")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_a_hub_name_without_the_network_is_told(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = saccade("import", "somebody/opus-mt-en-de", "--out", tmp_path / "out")
    refused(result, "somebody/opus-mt-en-de: no such folder", "pip install 'saccade[hub]'")


def test_an_exported_folder_translates_in_its_engine(saccade: Run, published: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    model, out = tmp_path / "model", tmp_path / "exported"
    saccade("import", published / "opus", "--out", model)
    result = saccade("export", model, "--to", "ctranslate2", "--out", out)
    assert result.code == 0, result.err
    assert result.lines[0] == "checked: 32 of 32 lines the same with greedy search"
    options = ("--beam", 1, "--max-length", 20)
    expected = saccade("translate", model, *options, stdin=LINES).out
    assert saccade("translate", out, *options, stdin=LINES).out == expected
    assert saccade("translate", model, "--engine", "ctranslate2", *options, stdin=LINES).out == expected


def test_wrong_engines_are_refused(saccade: Run, run_folder: Path, tmp_path: Path) -> None:
    refused(saccade("export", run_folder, "--to", "tflite", "--out", tmp_path / "x"), "--to tflite", "onnx")
    refused(saccade("translate", run_folder, "--engine", "jax", stdin=b""), "--engine jax", "ctranslate2")
    refused(saccade("translate", run_folder, "--engine", "onnx", stdin=b""), "not an exported folder")
    assert list(tmp_path.iterdir()) == []
