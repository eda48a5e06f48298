"""Minimum Bayes risk: utilities are sacreBLEU's, and the choice is that of a loop."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from typer.testing import CliRunner

from saccade.__main__ import app
from saccade.decoding.hypothesis import Hypothesis
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import save_model
from saccade.use.minimum_risk import by_minimum_risk, utilities
from saccade.use.translator import Translator
from tests.tiny import LINES, model

WORDS = st.lists(st.sampled_from(["a", "the", "dog", "dogs", "runs", "ran,", "x.", "."]), max_size=9)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=5, unique=True)


@given(TEXTS)
@settings(max_examples=40, deadline=None)
def test_chrf_is_sacrebleus_of_each_pair(texts: list[str]) -> None:
    found, metric = utilities(texts, "chrf"), CHRF()
    for i, hypothesis in enumerate(texts):
        for j, reference in enumerate(texts):
            expected = metric.sentence_score(hypothesis, [reference]).score
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


@given(TEXTS)
@settings(max_examples=40, deadline=None)
def test_bleu_is_sacrebleus_of_each_pair(texts: list[str]) -> None:
    found, metric = utilities(texts, "bleu"), BLEU(effective_order=True)
    for i, hypothesis in enumerate(texts):
        for j, reference in enumerate(texts):
            expected = metric.sentence_score(hypothesis, [reference]).score
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_text_without_blanks_is_cut_as_its_script_wants() -> None:
    assert utilities(["今天天气很好", "今天天气不好"], "bleu")[0, 1] > 10


def hypotheses(log_probs: list[float]) -> list[Hypothesis]:
    return [Hypothesis((number,), value, value) for number, value in enumerate(log_probs)]


@pytest.mark.parametrize("sampled", [False, True])
def test_the_choice_is_that_of_a_loop(sampled: bool) -> None:
    texts = ["a dog runs", "the dog runs", "a cat sleeps here", "the dog runs", "dogs run"]
    found = hypotheses([-0.5, -1.0, -0.4, -1.2, -3.0])
    metric = CHRF()
    expected = []
    for text in texts:
        total = 0.0
        for other, one in zip(texts, found, strict=True):
            weight = 1.0 if sampled else math.exp(one.log_prob)
            total += weight * metric.sentence_score(text, [other]).score
        expected.append(total)
    order = sorted(range(5), key=lambda number: -round(expected[number], 6))
    assert [one.tokens[0] for one in by_minimum_risk(found, texts, utility="chrf", sampled=sampled)] == order


def test_samples_that_agree_outweigh_a_likelier_one() -> None:
    found = hypotheses([-0.1, -2.0, -2.1])
    texts = ["quite another text", "the dog runs home", "the dog runs homeward"]
    assert by_minimum_risk(found, texts, utility="bleu", sampled=True)[0].tokens == (1,)
    assert by_minimum_risk([], [], utility="bleu", sampled=True) == []


@pytest.mark.parametrize("way", [{"beam": 4}, {"sample": True, "seed": 3}])
def test_a_translator_orders_its_translations_by_risk(way: dict[str, Any]) -> None:
    translator = Translator.of(model())
    options: Any = {"nbest": 4, "max_length": 8, **way}
    [plain] = translator.translate(LINES[:1], **options)
    [chosen] = translator.translate(LINES[:1], mbr="chrf", **options)
    assert sorted(one.text for one in plain.alternatives) == sorted(one.text for one in chosen.alternatives)
    assert chosen.text == chosen.alternatives[0].text
    with pytest.raises(ConfigError, match="set nbest = 2"):
        translator.translate(LINES[:1], mbr="chrf", beam=4)


def test_the_command_prints_the_chosen_translation_alone(tmp_path: Any) -> None:
    save_model(tmp_path / "model", model())
    text = tmp_path / "in.txt"
    text.write_text(f"{LINES[0]}\n{LINES[1]}\n", encoding="utf-8")
    done = CliRunner().invoke(
        app,
        [
            "translate",
            str(tmp_path / "model"),
            str(text),
            "--nbest",
            "3",
            "--mbr",
            "bleu",
            "--max-length",
            "8",
        ],
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert not any("|||" in line for line in lines)
