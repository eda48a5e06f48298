"""What programs can rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import saccade
from saccade.model_folder.checkpoint import save_model
from saccade.use.loading import USES
from tests import tiny
from tests.decoding.test_strategy import model as non_autoregressive
from tests.test_generator import model as language_model


def test_the_public_names_are_the_classes_of_use_and_these() -> None:
    uses = {getattr(use, "__self__", use).__name__ for use in USES.values()}
    others = {"AttentionMap", "Translation", "UserError", "__version__", "load"}
    assert saccade.__all__ == sorted(uses | others)
    for name in saccade.__all__:
        assert getattr(saccade, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'saccade' has no attribute 'translate_all'"):
        _ = saccade.translate_all


def test_importing_saccade_imports_nothing_heavy() -> None:
    code = "import sys, saccade; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[1])


def test_load_gives_a_translator(tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny.model())
    translator = saccade.load(str(tmp_path / "model"), device="cpu")
    assert isinstance(translator, saccade.Translator)
    [translation] = translator.translate(["a cat"], max_length=3)
    assert isinstance(translation, saccade.Translation)


def test_load_gives_what_the_model_is_for(tmp_path: Path) -> None:
    save_model(tmp_path / "model", language_model("transformer-xl"))
    generator = saccade.load(tmp_path / "model", device="cpu", memory=3)
    assert isinstance(generator, saccade.TextGenerator)
    assert generator.config.model_dump()["memory"] == 3


def test_load_takes_the_folder_of_a_reranker(tmp_path: Path) -> None:
    teacher = tiny.model()
    student = non_autoregressive("ctc", teacher.tokenizer)
    for name, one in (("teacher", teacher), ("student", student)):
        save_model(tmp_path / name, one)
    loaded = saccade.load(tmp_path / "student", device="cpu", reranker=tmp_path / "teacher")
    given = saccade.Translator.of(student, reranker=teacher)
    for one, other in zip(*(t.translate(["a cat", "a dog runs"]) for t in (loaded, given)), strict=True):
        assert one.text == other.text and one.score == pytest.approx(other.score, abs=1e-4)


def test_load_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(saccade.UserError, match="no such model folder"):
        saccade.load(tmp_path / "nowhere")
