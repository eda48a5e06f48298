"""saccade import and saccade export, and translating with what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.native.library import library
from tests.commands.conftest import Run, refused
from tests.interop.published import many, opus, text

pytest.importorskip("transformers")

GOLDEN = Path(__file__).parents[1] / "data"
LINES = "".join(f"{line}\n" for line in text("en", 4)).encode()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    opus(folder / "opus")
    many(folder / "nllb", nllb=True)
    many(folder / "m2m")
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


SIDES = ("--source-language", "en", "--target-language", "de")


@pytest.fixture(scope="module")
def without_languages(saccade: Run, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of many that no language was stored in."""
    model = tmp_path_factory.mktemp("models") / "many"
    assert saccade("import", published / "m2m", "--out", model).code == 0
    return model


def every_command(model: Path, folder: Path) -> dict[str, list[object]]:
    """Of those that translate or score: its words, to which languages are added."""
    (folder / "own.en").write_bytes(LINES)
    (folder / "own.de").write_text("".join(f"{line}\n" for line in text("de", 4)), encoding="utf-8")
    source, reference = folder / "own.en", folder / "own.de"
    return {
        "translate": ["translate", model, source, "--max-length", 9],
        "evaluate": ["evaluate", model, "--source", source, "--reference", reference, "--max-length", 9],
        "score": ["score", model, "--source", source, "--target", reference],
        "compare": [
            "compare",
            model,
            reference,
            "--source",
            source,
            "--reference",
            reference,
            "--samples",
            10,
        ],
        "attention": ["attention", model, "A dog.", "--target", "Ein Hund.", "--out", folder / "a.svg"],
        "check": ["check", "--init-from", model, "--source", source, "--target", reference],
    }


@pytest.mark.parametrize("command", ["translate", "evaluate", "score", "compare", "attention", "check"])
def test_every_command_takes_languages_and_tells_when_they_are_missing_or_unknown(
    saccade: Run, without_languages: Path, tmp_path: Path, command: str
) -> None:
    words = every_command(without_languages, tmp_path)[command]
    refused(saccade(*words), "100 languages: name the source language, for example af", "--source-language")
    refused(saccade(*words, *SIDES[:2]), "name the target language", "--target-language")
    refused(saccade(*words, *SIDES[:3], "german"), "german: this model does not know the language")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.de", "own.en"]
    result = saccade(*words, *SIDES)
    assert result.code == 0, result.err


@pytest.mark.parametrize("command", ["translate", "evaluate", "score", "compare", "attention"])
def test_a_model_without_languages_has_none_to_choose(
    saccade: Run, run_folder: Path, tmp_path: Path, command: str
) -> None:
    words = every_command(run_folder, tmp_path)[command]
    refused(saccade(*words, "--target-language", "de"), "no languages to choose from")


def test_a_model_goes_out_with_the_languages_asked_for(
    saccade: Run, without_languages: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ctranslate2")
    words = ("export", without_languages, "--to", "ctranslate2", "--out", tmp_path / "out")
    refused(saccade(*words, "--target-language", "german"), "german: this model does not know")
    assert saccade(*words, *SIDES).code == 0
    result = saccade("translate", tmp_path / "out", "--json", "--max-length", 9, stdin=LINES)
    assert {json.loads(line)["tokens"][0] for line in result.lines} == {"de"}


def test_training_stores_the_languages_of_its_text(
    saccade: Run, without_languages: Path, tmp_path: Path
) -> None:
    words = every_command(without_languages, tmp_path)["check"]
    run = tmp_path / "run"
    steps = ("--set", "training.steps=1", "--set", "training.warmup=1", "--set", "data.holdout=0")
    refused(saccade("train", *words[1:], *steps, "--out", run), "--source-language")
    assert not run.exists()
    assert saccade("train", *words[1:], *SIDES, *steps, "--out", run).code == 0
    assert 'target_language = "de"' in (run / "config.toml").read_text()
    result = saccade("translate", run, "--json", "--max-length", 9, stdin=LINES)
    assert {json.loads(line)["tokens"][0] for line in result.lines} == {"de"}


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
    refused(result, "somebody/opus-mt-en-de: no such folder", "pip install", "[hub]'")


def test_an_exported_folder_translates_in_its_engine(saccade: Run, published: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    model, out = tmp_path / "model", tmp_path / "exported"
    saccade("import", published / "opus", "--out", model)
    result = saccade("export", model, "--to", "ctranslate2", "--out", out)
    assert result.code == 0, result.err
    assert result.lines[0] == "checked: 32 of 32 lines are the same with greedy search"
    options = ("--beam", 1, "--max-length", 20)
    expected = saccade("translate", model, *options, stdin=LINES).out
    assert saccade("translate", out, *options, stdin=LINES).out == expected
    assert saccade("translate", model, "--engine", "ctranslate2", *options, stdin=LINES).out == expected


def test_a_model_stored_in_int8_is_a_model_like_any_other(saccade: Run, tmp_path: Path) -> None:
    model, out, lines = GOLDEN / "model-v1", tmp_path / "small", b"forty-two\nseven\n"
    result = saccade("export", model, "--to", "saccade", "--precision", "int8", "--out", out)
    assert result.code == 0, result.err
    assert " of 32 lines are the same with greedy search" in result.lines[0]
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (out, model)]
    assert sizes[0] < 0.4 * sizes[1]
    stored = saccade("translate", out, stdin=lines)
    assert stored.code == 0, stored.err
    if library() is None:
        refused(saccade("translate", out, "--precision", "int8", stdin=lines), "int8 is not possible")
    else:
        assert saccade("translate", model, "--precision", "int8", stdin=lines).out == stored.out
    assert saccade("export", out, "--to", "saccade", "--out", tmp_path / "float").code == 0
    assert saccade("translate", tmp_path / "float", "--precision", "float32", stdin=lines).code == 0


def test_a_precision_that_is_not_there_is_refused(saccade: Run, run_folder: Path) -> None:
    refused(
        saccade("translate", run_folder, "--precision", "int4", stdin=b""),
        "--precision",
        "int4: allowed",
        "int8",
    )
    # Twelve channels: nothing that the engine has room for.
    result = saccade("translate", run_folder, "--precision", "int8", stdin=b"seven\n")
    refused(result, "int8 is not possible for this model", "float32")


def test_wrong_engines_are_refused(saccade: Run, run_folder: Path, tmp_path: Path) -> None:
    refused(
        saccade("export", run_folder, "--to", "tflite", "--out", tmp_path / "x"),
        "--to",
        "tflite: allowed",
        "onnx",
    )
    refused(
        saccade("export", run_folder, "--to", "ctranslate2", "--precision", "int4", "--out", tmp_path / "x"),
        "--precision",
        "int4: allowed",
        "int8",
    )
    refused(
        saccade("export", run_folder, "--to", "onnx", "--precision", "int8", "--out", tmp_path / "x"),
        "precision int8",
        "float32 only",
    )
    empty = tmp_path / "empty"
    empty.touch()
    sampled = saccade("export", run_folder, "--to", "onnx", "--sample", empty, "--out", tmp_path / "x")
    refused(sampled, "empty: empty; a text is needed")
    empty.unlink()
    refused(
        saccade("translate", run_folder, "--engine", "jax", stdin=b""),
        "--engine",
        "jax: allowed",
        "ctranslate2",
    )
    refused(saccade("translate", run_folder, "--engine", "onnx", stdin=b""), "not an exported folder")
    assert list(tmp_path.iterdir()) == []
