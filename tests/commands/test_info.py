"""saccade info, and the languages that a model folder names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from saccade.model_folder.checkpoint import FORMAT, load_model
from tests.commands.conftest import SMALLEST, Run, pair, refused, settings

GOLDEN = Path(__file__).parents[1] / "data"
ONE_STEP = settings([*SMALLEST, "training.steps=1", "training.warmup=1"])


@pytest.fixture(scope="module")
def named(saccade: Run, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose languages are named."""
    run = tmp_path_factory.mktemp("named") / "run"
    words = ("--source-language", "en", "--target-language", "de-AT", "--out", run)
    result = saccade("train", *pair(corpus), *ONE_STEP, *words)
    assert result.code == 0, result.err
    return run


def facts(saccade: Run, model: Path) -> dict[str, Any]:
    result = saccade("info", model, "--json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.text)
    return found


def test_the_facts_are_those_of_the_loaded_model(saccade: Run, named: Path) -> None:
    found, model = facts(saccade, named), load_model(named)
    assert found["kind"] == "transformer" and found["format"] == FORMAT and found["precision"] == "float32"
    assert found["parameters"] == sum(parameter.numel() for parameter in model.network.parameters())
    assert found["vocabulary"] == vars(model.network.vocabulary)
    assert found["languages"] == {"source": "en", "target": "de-AT"}
    assert found["scores"] == model.provenance["validation"]
    assert found["provenance"]["step"] == 1
    assert found["model"]["width"] == 16


def test_people_read_the_same(saccade: Run, named: Path) -> None:
    text = saccade("info", named).text
    for words in ("transformer, ", "float32", "en to de-AT", "1 updates", "train.en", "Saccade's defaults"):
        assert words in text, words


@pytest.mark.parametrize("golden", sorted(path.name for path in GOLDEN.glob("*v[0-9]*") if path.is_dir()))
def test_old_folders_have_no_languages_and_are_shown_all_the_same(saccade: Run, golden: str) -> None:
    assert facts(saccade, GOLDEN / golden)["languages"] == {}
    assert "languages:" not in saccade("info", GOLDEN / golden).text


def test_a_stored_int8_model_and_its_defaults_are_told(saccade: Run, tmp_path: Path) -> None:
    words = (
        "--to",
        "saccade",
        "--precision",
        "int8",
        "--out",
        tmp_path / "small",
        "--set",
        "decoding.beam=2",
    )
    assert saccade("export", GOLDEN / "model-v1", *words).code == 0
    found = facts(saccade, tmp_path / "small")
    assert (found["precision"], found["format"], found["decoding"]["beam"]) == ("int8", FORMAT, 2)


def test_an_exported_model_is_told_with_its_languages(saccade: Run, named: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    out = tmp_path / "out"
    assert saccade("export", named, "--to", "ctranslate2", "--out", out).code == 0
    found = facts(saccade, out)
    assert (found["exported"], found["languages"]["target"]) == ("ctranslate2", "de-AT")
    assert "for ctranslate2" in saccade("info", out).text


def test_a_model_trained_from_another_inherits_its_languages(
    saccade: Run, named: Path, corpus: Path, tmp_path: Path
) -> None:
    words = ("--init-from", named, "--set", "training.steps=1", "--set", "training.warmup=1")
    for name, own, languages in (
        ("same", (), {"source": "en", "target": "de-AT"}),
        ("other", ("--target-language", "nl"), {"source": "en", "target": "nl"}),
    ):
        assert saccade("train", *pair(corpus), *words, *own, "--out", tmp_path / name).code == 0
        assert facts(saccade, tmp_path / name)["languages"] == languages


@pytest.mark.parametrize("code", ["german", "d", "de-", "de DE", "../x", ""])
def test_what_is_no_code_is_refused(saccade: Run, corpus: Path, tmp_path: Path, code: str) -> None:
    words = ("--target-language", code, "--out", tmp_path / "run")
    result = saccade("train", *pair(corpus), *ONE_STEP, *words)
    refused(result, f'data.target_language = "{code}"', "not a language code")
    assert not (tmp_path / "run").exists()


def test_damaged_and_missing_folders_are_refused(saccade: Run, tmp_path: Path) -> None:
    refused(saccade("info", tmp_path / "none"), "no such model folder")
    shutil.copytree(GOLDEN / "model-v1", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.json").write_text("{", encoding="utf-8")
    refused(saccade("info", tmp_path / "damaged"), "model.json", "damaged")
