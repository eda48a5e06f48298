"""saccade attention: a picture of what the model looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.commands.conftest import Run, refused

PNG = b"\x89PNG\r\n"


def test_a_picture_is_drawn_for_the_translation_or_a_given_one(
    saccade: Run, run_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    result = saccade("attention", run_folder, "forty-two", "--out", tmp_path / "own.png")
    assert result.code == 0, result.err
    assert len(result.lines) == 1
    assert (tmp_path / "own.png").read_bytes().startswith(PNG)
    result = saccade(
        "attention", run_folder, "forty-two", "--target", "zweiundvierzig", "-o", tmp_path / "given.svg"
    )
    assert result.out == b""
    assert b"<svg" in (tmp_path / "given.svg").read_bytes()
    (tmp_path / "link.png").symlink_to("own.png")
    (tmp_path / "own.png").write_bytes(b"older")
    assert saccade("attention", run_folder, "forty-two", "--out", tmp_path / "link.png").code == 0
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "own.png").read_bytes().startswith(PNG)
    (tmp_path / "full.pdf").symlink_to("/dev/full")
    result = saccade("attention", run_folder, "forty-two", "--out", tmp_path / "full.pdf")
    refused(result, "full.pdf: cannot write: the disk is full")


def test_other_endings_and_a_missing_matplotlib_are_told_before_the_model_is_read(
    saccade: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(saccade("attention", tmp_path, "one", "--out", tmp_path / "maps.html"), "maps.html", ".png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(saccade("attention", tmp_path, "one"), "pip install", "[plot]'")
