"""saccade evaluate, score and compare: the library's numbers, printed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import saccade as package
from saccade.evaluation import score_text
from saccade.model_folder.checkpoint import save_model
from saccade.text.reading import read_text
from tests.commands.conftest import Run, pair, refused
from tests.decoding.test_strategy import model as non_autoregressive
from tests.tiny import sentence_pieces

QUICK = ("--max-length", 8)


def test_evaluate_scores_what_translate_writes(
    saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    source, reference = corpus / "test.en", corpus / "test.de"
    words = ("--source", source, "--reference", reference, *QUICK, "--tokenize", "char")
    result = saccade("evaluate", run_folder, *words, "--json", "--output", tmp_path / "hypotheses")
    found = json.loads(result.text)
    translated = saccade("translate", run_folder, source, *QUICK)
    assert (tmp_path / "hypotheses").read_bytes() == translated.out
    expected = score_text(translated.lines, read_text(reference), tokenize="char").as_dict()
    assert {name: found[name] for name in expected} == expected
    assert found["sentences_per_second"] == pytest.approx(30 / found["seconds"], rel=0.01)
    full = saccade("evaluate", run_folder, *words, "--json", "--output", "/dev/full")
    assert full.code == 2 and "/dev/full: cannot write: the disk is full" in full.err
    assert json.loads(full.text)["chrf"] == found["chrf"], "the scores are not lost with the file"
    plain = saccade("evaluate", run_folder, *words).text
    assert f"chrF   {expected['chrf']:6.2f}   {expected['chrf_signature']}" in plain
    assert "tok:char" in plain and "0 of 30 lines" in plain


def test_evaluate_refuses_what_it_cannot_score(
    saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    source, reference = corpus / "test.en", corpus / "train.de"
    evaluate = ("evaluate", run_folder, "--source", source, "--reference")
    refused(saccade(*evaluate, reference), "30 lines", "300")
    refused(saccade(*evaluate, corpus / "test.de", "--tokenize", "scissors"), "scissors", "13a")
    refused(
        saccade(*evaluate, corpus / "test.de", "--precision", "int4"), "--precision", "int4: allowed", "int8"
    )
    (tmp_path / "latin1").write_bytes(b"eins\n" * 29 + b"f\xfcnf\n")
    refused(saccade(*evaluate, tmp_path / "latin1"), "latin1:30", "not UTF-8")
    (tmp_path / "empty").touch()
    refused(
        saccade("evaluate", run_folder, "--source", tmp_path / "empty", "--reference", tmp_path / "empty"),
        "empty",
    )


def test_one_word_lines_get_a_hint(saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path) -> None:
    lines = saccade("translate", run_folder, corpus / "test.en", "--max-length", 2, "--min-length", 1).lines
    (tmp_path / "same").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = ("--source", corpus / "test.en", "--reference", tmp_path / "same", "--max-length", 2)
    assert "--tokenize char" in saccade("evaluate", run_folder, *words).text


def test_score_prints_the_librarys_log_probabilities(saccade: Run, run_folder: Path, corpus: Path) -> None:
    result = saccade("score", run_folder, *pair(corpus, "test"))
    translator = package.load(run_folder)
    sources, targets = read_text(corpus / "test.en"), read_text(corpus / "test.de")
    expected = translator.score(sources, targets)
    assert [float(line) for line in result.lines] == pytest.approx(expected, abs=1e-5)
    totals = json.loads(saccade("score", run_folder, *pair(corpus, "test"), "--json").text)
    assert totals["log_prob"] == pytest.approx(sum(expected))
    assert [line["log_prob"] for line in totals["scores"]] == pytest.approx(expected)
    tokens = sum(map(len, translator.tokenizer.encode_target(targets)))
    assert totals["tokens"] == tokens == sum(line["tokens"] for line in totals["scores"])
    assert totals["perplexity"] == pytest.approx(math.exp(-sum(expected) / tokens))
    assert f"30 lines, {tokens:,} tokens" in result.err


def test_score_refuses_unequal_files(saccade: Run, run_folder: Path, corpus: Path) -> None:
    words = ("--source", corpus / "test.en", "--target", corpus / "valid.de")
    refused(saccade("score", run_folder, *words), "30 lines", "20")


@pytest.mark.parametrize("decoder", ["ctc", "mask-predict", "fertility"])
def test_what_a_log_prob_sums_over_is_named_by_both_commands_where_it_differs(
    saccade: Run, tmp_path: Path, decoder: str
) -> None:
    save_model(tmp_path / "m", non_autoregressive(decoder, sentence_pieces()))
    (tmp_path / "source").write_text("a cat\nthe dog sees\n")
    written = saccade("translate", tmp_path / "m", tmp_path / "source", "--json").lines
    told = {json.loads(line)["log_prob_sums_over"] for line in written}
    assert len(written) == 2 and len(told) == 1
    if decoder != "ctc":
        return  # nothing but translations has a log-probability there
    target = tmp_path / "target"
    target.write_text("a cat\nthe dog sees\n")
    words = ("score", tmp_path / "m", "--source", tmp_path / "source", "--target", target)
    scored = json.loads(saccade(*words, "--json").text)
    assert told == {"the most likely path"} and scored["log_prob_sums_over"] == "all paths to the target"
    assert "(summed over all paths to the target)" in saccade(*words).err


def test_nothing_is_named_where_both_commands_give_the_same_log_prob(
    saccade: Run, run_folder: Path, corpus: Path
) -> None:
    [first, *_] = saccade("translate", run_folder, corpus / "test.en", "--json", *QUICK).lines
    assert "log_prob_sums_over" not in json.loads(first)
    result = saccade("score", run_folder, *pair(corpus, "test"), "--json")
    assert "log_prob_sums_over" not in json.loads(result.text)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """reference, good (one word wrong), bad (every line cut)."""
    reference = [f"the {n} small dogs run over the {n} green hills" for n in range(40)]
    good = [line.replace("dogs", "cats") if n == 7 else line for n, line in enumerate(reference)]
    bad = [line[: len(line) // 2] for line in reference]
    for name, lines in (("reference", reference), ("good", good), ("bad", bad)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def test_compare_finds_a_real_difference_and_the_lines_that_show_it(saccade: Run, texts: Path) -> None:
    words = (texts / "good", texts / "bad", "--reference", texts / "reference", "--samples", 200)
    found = json.loads(saccade("compare", *words, "--json", "--lines", 3).text)
    good, bad = found["systems"]
    assert good["bleu"]["score"] > bad["bleu"]["score"]
    assert good["bleu"]["p"] is None and bad["bleu"]["p"] < 0.05
    assert len(found["differences"]) == 3
    assert all(line["chrf"] < line["baseline_chrf"] for line in found["differences"])
    table = saccade("compare", *words, "--lines", 1).text
    assert f"{bad['bleu']['score']:.2f} ± " in table
    assert "*" in table and "\n  reference  the " in table


def test_compare_translates_with_folders(saccade: Run, run_folder: Path, corpus: Path) -> None:
    words = (corpus / "test.de", run_folder, "--reference", corpus / "test.de", "--samples", 20, "--beam", 1)
    found = json.loads(saccade("compare", *words, "--source", corpus / "test.en", "--json").text)
    assert found["systems"][0]["chrf"]["score"] == 100
    lines = saccade("translate", run_folder, corpus / "test.en", "--beam", 1).lines
    difference = found["differences"][0]
    assert difference["text"] == lines[difference["line"] - 1]
    assert difference["source"] == read_text(corpus / "test.en")[difference["line"] - 1]


def test_compare_refuses_what_cannot_be_compared(saccade: Run, run_folder: Path, texts: Path) -> None:
    reference = ("--reference", texts / "reference")
    refused(saccade("compare", texts / "good", *reference), "two or more")
    refused(saccade("compare", texts / "good", texts / "good", *reference), "two or more")
    refused(saccade("compare", texts / "good", run_folder, *reference), "--source")
    (texts / "short").write_text("one line\n", encoding="utf-8")
    refused(saccade("compare", texts / "good", texts / "short", *reference), "short: 1 lines", "40")
    refused(saccade("compare", texts / "good", texts / "nowhere", *reference), "nowhere", "no such file")
