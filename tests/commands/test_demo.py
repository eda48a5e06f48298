"""saccade demo: all of it, and nobody else's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.text.numbers import write_corpus
from tests.commands.conftest import Run, refused, snapshot


def test_the_demo_trains_scores_translates_and_draws(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "saccade.demo.write_corpus", lambda folder: write_corpus(folder, train=300, valid=20, test=30)
    )
    out = tmp_path / "demo"
    result = saccade("demo", "--out", out, "--steps", 2)
    assert result.code == 0, result.err
    assert "30 numbers that were not in the training text" in result.text
    assert f"saccade translate {out / 'model'}" in result.text
    made = {path.name for path in out.iterdir()}
    assert {"corpus", "model", "demo.toml", "translations.txt", "curves.png", "attention.png"} <= made
    assert (out / "translations.txt").read_bytes().count(b"\n") == 30
    refused(saccade("demo", "--out", out, "--steps", 3), str(out), "--fresh")

    weights = (out / "model" / "checkpoints" / "best" / "model.safetensors").read_bytes()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert saccade("demo", "--out", out, "--steps", 2, "--fresh").code == 0
    assert (out / "model" / "checkpoints" / "best" / "model.safetensors").read_bytes() == weights
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_no_demo_made_is_never_touched(saccade: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").write_text("mine", encoding="utf-8")
    before = snapshot(tmp_path)
    for words in ([], ["--fresh"]):
        refused(saccade("demo", "--out", tmp_path, *words), str(tmp_path), "not made by the demo")
    refused(saccade("demo", "--out", tmp_path / "model" / "precious", "--fresh"), "precious")
    assert snapshot(tmp_path) == before
