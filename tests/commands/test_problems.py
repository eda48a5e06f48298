"""Commands name the lines that were not translated or are doubtful, and count them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from saccade.commands.problems import SHOWN
from saccade.model_folder.checkpoint import save_model
from tests import tiny
from tests.commands.conftest import Run, refused
from tests.decoding.test_strategy import model as non_autoregressive
from tests.test_generator import model as language_model
from tests.test_problems import ascii_only


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, no limit of its own, and a vocabulary without bytes."""
    folder = tmp_path_factory.mktemp("models") / "random"
    save_model(folder, tiny.model(ascii_only(), dtype=torch.float32))
    return folder


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


LONG = "the dog " * 2000


def test_one_long_line_is_reported_and_the_others_are_translated(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, "--max-length", 4, stdin=f"a cat\n{LONG}\na cat\n".encode())
    first, second, third = result.lines
    assert (first, second) == (third, "") and first
    assert "line 2: not translated: " in result.err and "more than max_source_length = 1024" in result.err
    assert "1 of 3 lines were not translated" in result.err


def test_the_limit_can_be_set_and_lifted(saccade: Run, model: Path) -> None:
    text = b"a cat\n" + b"cat dog " * 600 + b"\n"
    quick = ("--max-length", 3, "--beam", 1)
    assert saccade("translate", model, *quick, stdin=text).lines[1] == ""
    lifted = saccade("translate", model, *quick, "--max-source-length", 0, stdin=text)
    assert lifted.lines[1] and "not translated" not in lifted.err
    tight = saccade("translate", model, *quick, "--max-source-length", 1, stdin=text)
    assert tight.lines == ["", ""] and "2 of 2 lines were not translated: too-long 2" in tight.err


@pytest.mark.parametrize("decoder", ["ctc", "mask-predict", "fertility"])
def test_non_autoregressive_models_have_the_same_limit(saccade: Run, tmp_path: Path, decoder: str) -> None:
    save_model(tmp_path / "m", non_autoregressive(decoder, tiny.sentence_pieces()))
    result = saccade("translate", tmp_path / "m", stdin=f"a cat\n{LONG}\n".encode())
    assert result.code == 0 and result.lines[1] == ""
    assert "line 2: not translated: " in result.err


def test_score_evaluate_attention_and_align_name_a_long_line(
    saccade: Run, model: Path, tmp_path: Path
) -> None:
    long, short = write(tmp_path / "long", ["a cat", LONG]), write(tmp_path / "short", ["a cat", "nobody"])
    for source, target in ((long, short), (short, long)):
        result = saccade("score", model, "--source", source, "--target", target)
        refused(result, "line 2: ", "max_source_length = 1024")
    out = tmp_path / "out"
    result = saccade("align", model, "--source", long, "--target", short, "--fertilities", out)
    refused(result, "line 2: ", "max_source_length")
    found = saccade("evaluate", model, "--source", long, "--reference", short, "--max-length", 4)
    assert found.code == 0 and "line 2: not translated: " in found.err


def test_a_cut_translation_is_reported_in_words_and_in_json(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, "--json", "--max-length", 3, stdin=b"a cat\n\nthe dog\n")
    first, blank, last = (json.loads(line) for line in result.lines)
    for found in (first, last):
        assert "cut" in found["problems"] and "was cut at its greatest length" in found["problem"]
    assert "problem" not in blank
    assert "line 1: the translation was cut" in result.err and "line 3: " in result.err
    assert "2 of 3 translations are doubtful: cut 2" in result.err


def test_many_problems_are_named_a_few_times_and_counted(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, "--max-length", 2, "--beam", 1, stdin=b"a cat\n" * 60)
    assert result.err.count("was cut") == SHOWN
    assert "60 of 60 translations are doubtful: cut 60" in result.err


def test_unknown_characters_are_reported_by_translate_and_score(
    saccade: Run, model: Path, tmp_path: Path
) -> None:
    result = saccade("translate", model, "--json", stdin="a cat\na 猫\n".encode())
    assert "line 2: " in result.err and "the vocabulary lacks '猫', read as unknown" in result.err
    assert "unknown" in json.loads(result.lines[1])["problems"]
    sides = write(tmp_path / "s", ["a cat", "a dog"]), write(tmp_path / "t", ["a cat", "a 猫"])
    scored = saccade("score", model, "--source", sides[0], "--target", sides[1])
    assert len(scored.lines) == 2
    assert "line 2: the vocabulary lacks '猫' of the target, scored as unknown" in scored.err
    found = json.loads(saccade("score", model, "--source", sides[0], "--target", sides[1], "--json").out)
    assert "problem" not in found["scores"][0] and found["scores"][1]["problems"] == ["unknown"]


def test_a_prefix_that_cannot_be_written_is_reported(saccade: Run, model: Path, tmp_path: Path) -> None:
    prefixes = write(tmp_path / "prefixes", ["a", "猫", "a"])
    result = saccade("translate", model, "--prefix-file", prefixes, stdin=b"a cat\na cat\na cat\n")
    first, second, third = result.lines
    assert first == third and first.startswith("a") and second == ""
    assert "line 2: not translated: the vocabulary lacks '猫' of the prefix" in result.err


def test_a_prompt_with_unknown_words_is_reported(saccade: Run, tmp_path: Path) -> None:
    save_model(tmp_path / "m", language_model("transformer-xl"))
    result = saccade("generate", tmp_path / "m", "--prompt", "the zebra", "--tokens", 3, "--json")
    assert json.loads(result.lines[0])["problems"] == ["unknown"]
    assert "1 token(s) of the prompt" in result.err


@pytest.mark.parametrize(
    "options",
    [
        ("--beam", 10**9),
        ("--nbest", 10**9, "--sample"),
        ("--max-length", 10**9),
        ("--batch-tokens", 10**12),
        ("--max-source-length", -1),
        ("--top-k", 10**20, "--sample"),
        ("--temperature", "1e-300", "--sample"),
        ("--alpha", "1e300"),
        ("--set", "decoding.max_extra=1000000000"),
    ],
)
def test_endless_requests_are_refused_before_any_work(
    saccade: Run, model: Path, options: tuple[object, ...]
) -> None:
    result = saccade("translate", model, *options, stdin=b"a cat\n")
    assert result.code == 2 and result.out == b""
    assert "Traceback" not in result.err
