"""Language models on the command line: train, evaluate, generate, and what they refuse."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import pytest

from saccade.use.generator import TextGenerator
from tests.commands.conftest import Run, refused, settings

SMALLEST = [
    "model.width=16",
    "model.segment=8",
    "training.steps=4",
    "training.batch_tokens=64",
    "training.warmup=2",
    "validation.every=2",
]
TRAIN = ["train", "--set", "model.kind=recurrent-lm"]
TRAIN_TEXT = [*TRAIN, "--set", "data.text={text}"]


@pytest.fixture(scope="module")
def lm_folder(saccade: Run, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    config = folder / "numbers.toml"
    config.write_text(
        f'[data]\ntext = "{corpus}/train.en"\nvalid_text = ["{corpus}/valid.en"]\n'
        '[tokenizer]\nmodel = "word"\n'
        '[model]\nkind = "transformer-xl"\nheads = 2\nfeed_forward = 32\nlayers = 2\nmemory = 8\n',
        encoding="utf-8",
    )
    result = saccade("train", config, "--out", folder / "run", *settings(SMALLEST))
    assert result.code == 0, result.err
    assert "perplexity" in result.err and "bits per character" in result.err
    assert f"saccade generate {folder / 'run'} --prompt" in result.text
    return folder


@pytest.fixture(scope="module")
def lm(lm_folder: Path) -> Path:
    return lm_folder / "run"


@pytest.fixture(scope="module")
def recurrent_lm(saccade: Run, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("recurrent") / "run"
    result = saccade(*TRAIN, "--set", f"data.text={corpus}/train.en", "--out", run, *settings(SMALLEST))
    assert result.code == 0, result.err
    return run


def test_a_text_is_judged_under_the_settings_that_are_told(saccade: Run, lm: Path, corpus: Path) -> None:
    result = saccade("perplexity", lm, "--text", corpus / "test.en", "--memory", 20, "--segment", 4)
    assert result.code == 0, result.err
    assert [line.split()[0] for line in result.lines[:3]] == ["perplexity", "perplexity", "bits"]
    assert result.lines[3].startswith("segment 4, memory 20, same_length False, streams 1: ")
    words = ["perplexity", lm, "--text", corpus / "test.en", "--json"]
    as_json = json.loads(saccade(*words, "--same-length", "--clamp-length", 5, "--streams", 3).text)
    assert (as_json["clamp_length"], as_json["streams"], as_json["same_length"]) == (5, 3, True)
    assert as_json["word_perplexity"] == pytest.approx(as_json["perplexity"])  # its tokens are words
    assert as_json["lines"] == 30


def test_text_of_pipes_and_standard_input_is_judged_and_learned(
    saccade: Run, lm: Path, corpus: Path, tmp_path: Path
) -> None:
    words = ["perplexity", lm, "--json", "--text"]
    text = (corpus / "test.en").read_bytes()
    found = [saccade(*words, "-", stdin=data).text for data in (text, bz2.compress(text))]
    expected = json.loads(saccade(*words, corpus / "test.en").text)["perplexity"]
    assert [json.loads(line)["perplexity"] for line in found] == [expected, expected]
    run = tmp_path / "run"
    result = saccade(*TRAIN, "--set", "data.text=-", "--out", run, *settings(SMALLEST), stdin=text)
    assert result.code == 0, result.err
    assert (run / "text" / "text-1").read_bytes() == text
    refused(saccade(*words, corpus / "test.en", "--text", corpus / "test.en"), "--text: given 2 times")


def test_a_text_is_continued(saccade: Run, lm: Path) -> None:
    result = saccade("generate", lm, "--prompt", "one hundred", "--tokens", 9, "--samples", 2)
    assert result.code == 0, result.err
    assert result.text.startswith("one hundred")
    assert "\n---\none hundred" in result.text
    words = ["generate", lm, "--prompt", "one zebra", "--tokens", 9, "--json", "--temperature", 0]
    greedy = saccade(*words)
    assert "1 token(s) of the prompt are not in the vocabulary" in greedy.err
    found = json.loads(greedy.text)
    assert found["prompt"] == "one zebra" and len(found["tokens"]) == 9
    assert json.loads(saccade(*words, "--seed", 7).text) == found


def test_check_reports_on_running_text(saccade: Run, lm_folder: Path) -> None:
    result = saccade("check", lm_folder / "numbers.toml", *settings(SMALLEST))
    assert result.code == 0, result.err
    assert "training: 300 lines" in result.text
    assert "is less than one epoch" in result.text


def test_a_run_is_resumed(saccade: Run, lm: Path) -> None:
    result = saccade("train", "--resume", lm)
    assert result.code == 0
    assert "Done: 4 steps" in result.text


def test_training_goes_on_from_it_with_another_memory(
    saccade: Run, lm: Path, corpus: Path, tmp_path: Path
) -> None:
    words = ["train", "--init-from", lm, "--out", tmp_path / "on", "--set", f"data.text={corpus}/valid.en"]
    few = settings(["training.steps=1", "training.batch_tokens=30", "model.memory=5", "model.segment=6"])
    result = saccade(*words, *few)
    assert result.code == 0, result.err
    assert TextGenerator.load(tmp_path / "on").config.model_dump()["memory"] == 5
    refused(saccade(*words, "--set", "model.layers=3"), "model.layers = 3", "which is 2")


@pytest.mark.parametrize(
    "words",
    [
        ["translate", "{lm}"],
        ["score", "{lm}", "--source", "{text}", "--target", "{text}"],
        ["evaluate", "{lm}", "--source", "{text}", "--reference", "{text}"],
        ["compare", "{lm}", "{text}", "--source", "{text}", "--reference", "{text}"],
    ],
    ids=lambda words: " ".join(words[:1] + words[2:4]),
)
def test_what_translators_do_is_refused(
    saccade: Run, lm: Path, corpus: Path, tmp_path: Path, words: list[str]
) -> None:
    places = {"lm": lm, "text": corpus / "test.en", "folder": tmp_path}
    result = saccade(*[word.format(**places) for word in words])
    refused(result, "language model", "saccade generate", "saccade perplexity")
    assert not list(tmp_path.iterdir())


def test_it_teaches_no_translator(saccade: Run, lm: Path, corpus: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "--source",
        corpus / "train.en",
        "--target",
        corpus / "train.de",
        "--out",
        tmp_path / "run",
    ]
    kind = settings(["model.kind=nonautoregressive", "model.decoder=ctc", f"training.teacher={lm}"])
    refused(saccade(*words, *kind), f"training.teacher = {lm}", "a language model")
    assert not list(tmp_path.iterdir())


def test_it_is_not_exported(saccade: Run, lm: Path, tmp_path: Path) -> None:
    result = saccade("export", lm, "--to", "onnx", "--out", tmp_path / "out")
    refused(result, "model.kind = transformer-xl", "supports only transformer and nonautoregressive")
    assert not list(tmp_path.iterdir())


def test_a_translator_neither_continues_nor_judges_text(saccade: Run, run_folder: Path, corpus: Path) -> None:
    for words in (["generate", run_folder], ["perplexity", run_folder, "--text", corpus / "test.en"]):
        refused(saccade(*words), "a translation model", "saccade translate", "saccade evaluate")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["perplexity", "{lm}"], ["--text"]),
        (
            ["perplexity", "{lm}", "--text", "{text}", "--set", "model.width=3"],
            ["model.width", "depend"],
        ),
        (["perplexity", "{lm}", "--text", "{text}", "--set", "decoding.seed=3"], ["[decoding]", "[model]"]),
        (
            ["perplexity", "{recurrent}", "--text", "{text}", "--memory", "3"],
            ["memory = 3", "only transf"],
        ),
        (
            ["perplexity", "{recurrent}", "--text", "{text}", "--same-length"],
            ["same_length = true", "only"],
        ),
        (["perplexity", "{lm}", "--text", "{folder}/none.txt"], ["none.txt", "no such file"]),
        (["perplexity", "{lm}", "--text", "{empty}"], ["empty"]),
        (["perplexity", "{lm}", "--text", "{text}", "--segment", "0"], ["--segment", "1"]),
        (["generate", "{lm}", "--top-p", "1.5"], ["--top-p", "1"]),
        (["generate", "{folder}"], ["not a Saccade model folder"]),
        ([*TRAIN, "--source", "{text}", "--target", "{text}"], ["data.source", "[data] has text"]),
        (TRAIN, ["set data.text"]),
        ([*TRAIN_TEXT, "--set", "model.memory=3"], ["model.memory = 3", "a setting of kind transformer-xl"]),
        ([*TRAIN_TEXT, "--set", "decoding.beam=3"], ["decoding.beam = 3"]),
        ([*TRAIN_TEXT, "--set", "validation.metric=bleu"], ["validation.metric"]),
        (
            [*TRAIN_TEXT, "--set", "training.batch_tokens=1000000", "--set", "tokenizer.model=byte"],
            ["fewer than", "Lower training.batch_tokens"],
        ),
    ],
)
def test_bad_input_is_told_in_one_message(
    saccade: Run,
    lm: Path,
    recurrent_lm: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    parts: list[str],
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    empty = tmp_path / "empty.txt"
    empty.touch()
    places = {"lm": lm, "text": corpus / "test.en", "folder": tmp_path, "empty": empty}
    places["recurrent"] = recurrent_lm
    result = saccade(*[word.format(**places) for word in words])
    refused(result, *parts)
    assert not list((tmp_path / "work").iterdir())
