"""Each piece of advice is given when it is due and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saccade.runs.experiment import Experiment, read_experiment
from saccade.tasks import task_for
from saccade.tasks.advice import model_size
from saccade.tasks.interface import Report
from saccade.text.language_model import TextReport, TextSize
from saccade.text.repeats import LineRepeats, Repeats
from saccade.text.report import DataReport, Duplicates, SideReport, SplitReport

SIDE = SideReport(pieces=1_000_000, unknown=0, bytes=0, mean_length=20.0, max_length=90)
SPLIT = SplitReport(read=50_000, kept=50_000, dropped={}, places={}, source=SIDE, target=SIDE)
REPORT = DataReport(
    train=SPLIT,
    valid=replace(SPLIT, read=1000, kept=1000),
    duplicates={"valid": Duplicates(checked=1000, pairs=0, sources=3, places=[])},
    source_vocab_size=8000,
    target_vocab_size=8000,
    shared_vocabulary=True,
    batch_tokens=4096,
    batches=250,
    padding=0.03,
    files={},
)


def plan(*overrides: str) -> Experiment:
    return read_experiment(overrides=["model.preset=small", *overrides])


def advice(plan: Experiment, report: Report, *, parameters: int) -> list[str]:
    return task_for(plan.model).advice(plan, report, parameters=parameters)


def advised(*overrides: str, parameters: int = 7_000_000, **changes: Any) -> list[str]:
    return advice(plan(*overrides), replace(REPORT, **changes), parameters=parameters)


def test_a_good_plan_gets_no_advice() -> None:
    assert advised() == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"duplicates": {"test": Duplicates(checked=1000, pairs=17, sources=20, places=[])}},
            ["17 of 1,000 test pairs", "Remove them"],
        ),
        ({"valid": None}, ["no validation text", "data.valid_source"]),
        ({"valid": replace(SPLIT, kept=40)}, ["only 40 validation pairs", "data.holdout"]),
        ({"padding": 0.3}, ["30% of each batch is padding", "training.batch_tokens"]),
        (
            {"train": replace(SPLIT, source=replace(SIDE, bytes=50_000))},
            ["5.0% of the source pieces are bytes", "tokenizer.vocab_size"],
        ),
        (
            {"train": replace(SPLIT, target=replace(SIDE, unknown=20_000))},
            ["2.0% of the target pieces are unknown", "tokenizer.byte_fallback"],
        ),
        ({"batches": 30_000}, ["training.steps = 20000 is less than one epoch (30,000 batches)"]),
    ],
)
def test_what_the_data_suggest(changes: dict[str, Any], parts: list[str]) -> None:
    [sentence] = advised(**changes)
    assert all(part in sentence for part in parts)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("training.warmup=20000", "training.warmup = 20000 is not below training.steps"),
        ("validation.every=30000", "there will be one validation, at the end"),
    ],
)
def test_what_the_settings_suggest(override: str, part: str) -> None:
    [sentence] = advised(override)
    assert part in sentence


def test_a_model_too_large_for_its_text_is_pointed_out() -> None:
    [sentence] = advised(parameters=65_000_000)
    assert "65,000,000 parameters are many for 1,000,000 target pieces" in sentence


def test_a_model_that_was_trained_before_may_be_large_and_keeps_its_vocabulary() -> None:
    training = plan().training.model_copy(update={"init_from": Path("models/en-de")})
    tuned = replace(plan(), training=training)
    assert advice(tuned, REPORT, parameters=65_000_000) == []
    lost = replace(REPORT, train=replace(SPLIT, target=replace(SIDE, unknown=20_000)))
    [sentence] = advice(tuned, lost, parameters=7_000_000)
    assert "2.0% of the target pieces are unknown" in sentence and "that of training.init_from" in sentence


def test_few_batches_can_not_help_their_padding() -> None:
    assert advised(padding=0.3, batches=5) == []


def test_the_size_of_a_model_is_the_papers() -> None:
    """65M for base with 37,000 shared pieces (table 3)."""
    report = replace(REPORT, source_vocab_size=37_000, target_vocab_size=37_000)
    assert model_size(plan("model.preset=base").model, report) == pytest.approx(65e6, rel=0.03)
    separate = replace(report, shared_vocabulary=False)
    assert model_size(plan("model.preset=base").model, separate) == pytest.approx(
        65e6 + 37_000 * 512, rel=0.03
    )


@pytest.mark.parametrize("chosen", ["13a", "intl", "none"])
def test_a_tokeniser_that_needs_blanks_is_advised_against_for_a_script_without_them(chosen: str) -> None:
    [sentence] = advised(tokenize=chosen, fitting="zh")
    assert f"validation.tokenize = {chosen}" in sentence and "set it to zh" in sentence
    assert advised(tokenize="char", fitting="zh") == advised(tokenize=chosen, fitting="13a") == []


def test_what_running_text_suggests() -> None:
    plan = read_experiment(
        overrides=["model.kind=transformer-xl", "data.text=a", "training.steps=100", "training.warmup=10"]
    )
    size = TextSize(lines=900, words=90_000, characters=400_000, tokens=500_000, unknown=0)
    report = TextReport(train=size, valid=None, vocab_size=900, files={})
    assert task_for(plan.model).batches_an_epoch(plan, report) == 123
    found = advice(plan, report, parameters=20_000_000)
    for part in ("data.valid_text", "20,000,000 parameters are many", "one epoch (123 batches)"):
        assert any(part in line for line in found), part
    lossy = replace(report, valid=replace(size, unknown=20_000))
    assert "4.0% of the validation tokens are unknown" in advice(plan, lossy, parameters=1_000)[0]
    assert model_size(plan.model, report) > 40_000_000


@pytest.mark.parametrize(
    ("repeats", "parts"),
    [
        (
            Repeats(same=600, same_places=["a.en:7"]),
            ["are the same in 600 of 50,000 pairs", "a.en:7", "copy"],
        ),
        (Repeats(repeated=6_000), ["6,000 of 50,000 pairs repeat an earlier pair"]),
        (Repeats(repeated=6_000, exact=False), ["about 6,000 of 50,000"]),
        (Repeats(ambiguous=6_000, example="Yes."), ["6,000 of 50,000", "more than 10", '"Yes."']),
    ],
)
def test_what_repeated_and_untranslated_pairs_suggest(repeats: Repeats, parts: list[str]) -> None:
    [sentence] = advised(repeats=repeats)
    assert all(part in sentence for part in parts)


def test_a_few_repeated_and_untranslated_pairs_are_usual() -> None:
    assert advised(repeats=Repeats(same=400, repeated=4_000, ambiguous=4_000)) == []
    assert advised(repeats=Repeats(same=2), train=replace(SPLIT, read=3, kept=3)) == []


def test_near_copies_of_the_test_text_are_pointed_out_unless_all_text_is_alike() -> None:
    near = Duplicates(checked=1000, pairs=0, sources=0, places=[], near=100, near_places=["test:1 = train:2"])
    [sentence] = advised(duplicates={"test": near})
    assert "100 of 1,000 test pairs are nearly the same" in sentence and "test:1 = train:2" in sentence
    assert advised(duplicates={"test": replace(near, usual=0.1)}) == []
    [sentence] = advised(duplicates={"test": replace(near, usual=0.1, folded=1)})
    assert "101 of 1,000" in sentence


LANGUAGES = ("data.source_language=en", "data.target_language=deu_Latn")


@pytest.mark.parametrize(
    ("source", "target", "parts"),
    [
        (
            {"de": 90, "en": 10},
            {"de": 99, "nl": 1},
            ["90% of the source text", "source_language = en", "in de"],
        ),
        ({"en": 99}, {"de": 70, "en": 30}, ["30% of the target text", "target_language = deu_Latn", "in en"]),
        ({"de": 90, "en": 10}, {"en": 80, "de": 20}, ["swapped", "source is in de", "target in en"]),
    ],
)
def test_text_in_another_language_than_the_one_named(
    source: dict[str, int], target: dict[str, int], parts: list[str]
) -> None:
    report = replace(REPORT, languages={"source": source, "target": target})
    [sentence] = advice(plan(*LANGUAGES), report, parameters=7_000_000)
    assert all(part in sentence for part in parts)


def test_text_in_the_language_named_or_in_none_that_is_known_gets_no_advice() -> None:
    good = replace(REPORT, languages={"source": {"en": 90, "fr": 10}, "target": {"de": 99}})
    assert advice(plan(*LANGUAGES), good, parameters=7_000_000) == []
    assert advice(plan("data.source_language=tlh"), good, parameters=7_000_000) == []
    assert advice(plan(*LANGUAGES), REPORT, parameters=7_000_000) == []


def test_repeated_lines_of_running_text_and_validation_lines_in_it_are_pointed_out() -> None:
    plan = read_experiment(overrides=["model.kind=transformer-xl", "data.text=a", "training.warmup=10"])
    size = TextSize(lines=900_000, words=9_000_000, characters=9_000_000, tokens=50_000_000, unknown=0)
    found = LineRepeats(lines=1000, repeated=300, valid_lines=100, valid_found=20)
    report = TextReport(train=size, valid=size, vocab_size=900, files={}, repeats=found)
    text = "\n".join(advice(plan, report, parameters=1_000))
    assert "300 of 1,000 long lines repeat" in text and "20 of 100 long validation lines" in text
    usual = LineRepeats(lines=1000, repeated=100, valid_lines=100, valid_found=2)
    assert "long" not in "\n".join(advice(plan, replace(report, repeats=usual), parameters=1_000))
