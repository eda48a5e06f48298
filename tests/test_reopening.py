"""Translators and generators can be copied, pickled and sent to other processes; results and errors too."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from saccade.errors import ConfigError, UserError
from saccade.model_folder.checkpoint import save_model
from saccade.use.generator import TextGenerator
from saccade.use.translator import Translator
from tests import tiny
from tests.decoding.test_strategy import model as non_autoregressive
from tests.test_generator import model as language_model

LINES = ["the dog eats", "a cat"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", tiny.model(dtype=torch.float32))
    return tmp_path / "m"


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def test_a_translator_from_a_folder_is_pickled_as_its_folder_and_settings(folder: Path) -> None:
    for one in (saccade.load(folder, device="cpu"), Translator.load(folder, device="cpu", engine="torch")):
        data = pickle.dumps(one)
        assert len(data) < 2_000
        other = pickle.loads(data)
        assert isinstance(other, Translator)
        assert other.translate(LINES, max_length=6) == one.translate(LINES, max_length=6)
    changed = one.with_options(beam=2, max_length=5)
    assert again(again(changed)).options() == changed.options()
    assert again(changed).translate(LINES) == one.translate(LINES, beam=2, max_length=5)


def test_a_pickle_finds_its_folder_from_another_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    data = pickle.dumps(saccade.load("m", device="cpu"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(data).translate(["a cat"], max_length=3)
    (folder / "model.json").unlink()
    with pytest.raises(UserError, match=r"model\.json is missing"):
        pickle.loads(data)


def test_a_reranker_comes_along(tmp_path: Path) -> None:
    teacher = tiny.model(dtype=torch.float32)
    save_model(tmp_path / "teacher", teacher)
    save_model(tmp_path / "student", non_autoregressive("ctc", teacher.tokenizer))
    one = saccade.load(tmp_path / "student", device="cpu", reranker=tmp_path / "teacher")
    assert again(one).translate(LINES, candidates=3) == one.translate(LINES, candidates=3)


def test_a_generator_from_a_folder_keeps_its_settings(tmp_path: Path) -> None:
    save_model(tmp_path / "m", language_model("transformer-xl"))
    for one in (saccade.load(tmp_path / "m", device="cpu", memory=5), TextGenerator.load(tmp_path / "m")):
        other = again(one)
        assert other.config == one.config
        assert other.generate("the dog", tokens=4) == again(one.generate("the dog", tokens=4))


@pytest.mark.parametrize(
    "made", [lambda: Translator.of(tiny.model()), lambda: TextGenerator(language_model("transformer-xl"))]
)
def test_a_model_from_memory_cannot_be_pickled_and_the_message_says_what_to_do(made: Any) -> None:
    with pytest.raises(TypeError, match=r"came from memory\. Save the model to a folder"):
        pickle.dumps(made())


def test_copies_share_the_model() -> None:
    one = Translator.of(tiny.model())
    for other in (copy.copy(one), copy.deepcopy(one), copy.deepcopy([one])[0]):
        assert other is not one and other.decoder is one.decoder
        assert other.translate(LINES, max_length=4) == one.translate(LINES, max_length=4)
    generator = TextGenerator(language_model("transformer-xl"))
    assert copy.deepcopy(generator).network is generator.network


def test_results_and_errors_can_be_pickled() -> None:
    one = Translator.of(tiny.model())
    [found] = one.translate(["a cat"], attention=True, max_length=3)
    other = again(found)
    assert (other.text, other.alternatives, other.problems) == (
        found.text,
        found.alternatives,
        found.problems,
    )
    for own, copied in zip(found.attention or (), other.attention, strict=True):
        torch.testing.assert_close(copied.weights, own.weights)
    score = TextGenerator(language_model("transformer-xl")).score(["the dog"])
    assert again(score) == score
    error = again(ConfigError("what is wrong", topic="out", run="x"))
    assert (str(error), error.topic, error.details) == ("what is wrong", "out", {"run": "x"})


@pytest.mark.slow
def test_a_spawned_process_translates_with_what_it_is_sent(folder: Path) -> None:
    one = saccade.load(folder, device="cpu").with_options(max_length=4)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(one.translate, [LINES]) == [one.translate(LINES)]
