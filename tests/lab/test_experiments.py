"""Every experiment of the lab: measured small, judged, drawn; and what turns its verdict.

A verdict is turned twice: by figures as a mistake would give them (`TURNED`, from the committed results), and
by a wrong implementation that is planted in what is measured (`plants.py`). A small run is too short for
models to learn, so a plant forces an outcome whatever they have learned, which is not that of the full run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.lab.catalogue import EXPERIMENTS, find
from saccade.lab.experiment import Experiment, Figures, Settings, clearly_above, number
from saccade.lab.experiments import pronoun
from saccade.lab.pages import OUTCOMES, index, page, pictures_of
from saccade.lab.results import Result, new_result, read_result
from tests.lab.plants import PLANTS

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "lab"
SMALL = Settings(small=True, seeds=(1,))
NAMES = [experiment.name for experiment in EXPERIMENTS]


def one(name: str) -> Experiment:
    [experiment] = find([name])
    return experiment


def committed(name: str) -> Result:
    result = read_result(COMMITTED, name)
    assert result is not None, f"docs/lab has no result of {name}; run `saccade lab {name} --out docs/lab`"
    return result


def require_form(experiment: Experiment, figures: Figures) -> None:
    """Figures are in JSON types, and verdict, charts and pages follow from them."""
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert experiment.judge(figures).outcome in OUTCOMES
    for chart in pictures_of(experiment, figures, "en").values():
        assert all(len(series.values) == len(chart.positions) for series in chart.series)
    result = new_result(experiment, figures, SMALL, seconds=1.0, cpu_seconds=1.0)
    for language in ("en", "zh"):
        text = page(experiment, result, language, pictures=True)
        assert experiment.claim.in_(language) in text
        assert all(picture in text for picture in pictures_of(experiment, figures, language))
        assert experiment.title.in_(language) in index([(experiment, result)], language)
    assert all(line for _, line, _ in (code.place() for code in experiment.code))


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_measures_and_a_wrong_implementation_turns_its_verdict(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, plant = one(name), PLANTS[name]
    right = experiment.measure(SMALL)
    require_form(experiment, right)
    plant.set(monkeypatch)
    wrong = experiment.measure(SMALL)
    assert wrong != right
    assert experiment.judge(wrong).outcome in plant.outcomes
    assert committed(name).outcome not in plant.outcomes
    assert not plant.untrained or experiment.judge(right).outcome not in plant.outcomes


def test_every_claim_has_a_wrong_implementation() -> None:
    assert sorted(PLANTS) == sorted(NAMES)


def test_each_claim_has_a_file_of_its_own() -> None:
    folder = ROOT / "saccade" / "lab" / "experiments"
    files = {file.stem.replace("_", "-") for file in folder.glob("[!_]*.py")}
    assert files == set(NAMES)


def test_all_claims_have_names_of_their_own_and_texts_in_both_languages() -> None:
    assert len(set(NAMES)) == len(NAMES) == 29
    for experiment in EXPERIMENTS:
        for words in (experiment.title, experiment.claim, experiment.prediction, experiment.correction):
            assert words.en.isascii() or "–" in words.en or any(c in "“”’′·²√−×ε–≤≥…" for c in words.en)
            assert any("\u4e00" <= letter <= "\u9fff" for letter in words.zh) or words is experiment.title


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_verdict_is_that_of_the_committed_figures(name: str) -> None:
    result = committed(name)
    assert one(name).judge(result.figures).outcome == result.outcome
    assert not result.small and len(result.seeds) == 3
    assert {"processor", "threads", "torch"} <= result.machine.keys() and len(result.date) == 10


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_committed_pages_are_drawn_from_the_committed_results(language: Any) -> None:
    found = [(experiment, committed(experiment.name)) for experiment in EXPERIMENTS]
    suffix = "" if language == "en" else ".zh"
    assert (COMMITTED / f"index{suffix}.md").read_text(encoding="utf-8") == index(found, language)
    for experiment, result in found:
        for picture in pictures_of(experiment, result.figures, language):
            assert (COMMITTED / picture).is_file()
        drawn = (COMMITTED / f"{experiment.name}{suffix}.md").read_text(encoding="utf-8")
        assert drawn == page(experiment, result, language, pictures=True)


# --- figures that turn the verdict -----------------------------------------------------------------


def equal(figures: dict[str, Any], *path: str, like: str) -> None:
    """Gives a table's entry the values of another one, as if the two implementations were one."""
    table = figures
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = copy.deepcopy(table[like])


def swap(table: dict[str, Any], first: str, second: str) -> None:
    table[first], table[second] = table[second], table[first]


def set_rows(rows: list[list[float]], place: int, value: float) -> None:
    rows[place] = [value] * len(rows[place])


def turn_heads(figures: dict[str, Any]) -> None:
    """All numbers of heads do alike, as if one head were used, or more are better and better."""
    scores = figures["accuracy"]
    better = one("heads").judge(figures).outcome == "does not hold"
    for place, heads_ in enumerate(scores):
        scores[heads_] = [0.5 + 0.1 * place if better else 0.5] * 3


def turn_residuals(figures: dict[str, Any]) -> None:
    for table in ("accuracy", "probe"):
        swap(figures[table], "with", "without")


def turn_warmup(figures: dict[str, Any]) -> None:
    scores, holds = figures["accuracy"], one("warmup").judge(figures).outcome == "holds"
    for name in scores:
        scores[name] = [1.0] * 3 if name.endswith("_with") and not holds else [0.5] * 3


def turn_smoothing(figures: dict[str, Any]) -> None:
    holds = one("smoothing").judge(figures).outcome == "holds"
    figures["with"]["perplexity"] = [
        value * (1.0 if holds else 2.0) for value in figures["without"]["perplexity"]
    ]
    figures["with"]["bleu"] = [value + (0.0 if holds else 50.0) for value in figures["without"]["bleu"]]
    if not holds:
        figures["with"]["perplexity"] = [max(figures["with"]["perplexity"])] * 3
        figures["with"]["bleu"] = [max(figures["with"]["bleu"])] * 3


def turn_exposure(figures: dict[str, Any]) -> None:
    if one("exposure").judge(figures).outcome == "does not hold":
        set_rows(figures["free"], -1, 1.0)
        set_rows(figures["forced"], -1, 0.0)
    else:
        figures["free"] = figures["forced"]


def turn_beams(figures: dict[str, Any]) -> None:
    rising = one("beams").judge(figures).outcome != "holds"
    for place in range(len(figures["bleu"])):
        set_rows(figures["bleu"], place, 10.0 * place if rising else 50.0)


def turn_alignment(figures: dict[str, Any]) -> None:
    good = one("alignment").judge(figures).outcome == "does not hold"
    for place in range(len(figures["error_rate"])):
        set_rows(figures["error_rate"], place, 0.0 if good else 1.0)


def turn_data(figures: dict[str, Any]) -> None:
    worse = one("data").judge(figures).outcome == "does not hold"
    for kind, rows in figures["bleu"].items():
        for place in range(len(rows)):
            behind = worse and kind == "transformer" and place == 0
            set_rows(rows, place, 0.0 if behind else 50.0)


def turn_pronoun(figures: dict[str, Any]) -> None:
    holds = one("pronoun").judge(figures).outcome == "holds"
    for name in ("accuracy", "best_head", "all_heads"):
        figures[name] = [0.5 if holds else 1.0] * 3


TURNED: dict[str, Callable[[dict[str, Any]], None]] = {
    "scaling": lambda f: equal(f["entropy_and_jacobian"], "scaled", like="unscaled"),
    "future": lambda f: f["leak"].update(minus_infinity=0.1),
    "padding": lambda f: f["change"].update(masked=0.1),
    "order": lambda f: f["disorder"].update(none=0.1),
    "ladder": lambda f: f["bleu"].reverse(),
    "heads": turn_heads,
    "identities": lambda f: f["error"].update(sum_over_heads=[1.0], convolution=[1.0]),
    "query-key": lambda f: f["tied"].update(asymmetry=f["own"]["asymmetry"]),
    "additive": lambda f: swap(f["accuracy"]["128"], "additive", "dot"),
    "lookup": lambda f: f["weights"].update({"4": [1.0] * 6}),
    "sinusoids": lambda f: swap(f, "both", "sine"),
    "extrapolation": lambda f: f["accuracy"].update(sinusoidal=[[1.0, 1.0, 1.0]] * 4),
    "adding": lambda f: f.update(added=[0.1] * 3),
    "residuals": turn_residuals,
    "norms": lambda f: f["batch"].update(company=[0.0] * 3),
    "warmup": turn_warmup,
    "smoothing": turn_smoothing,
    "exposure": turn_exposure,
    "forgetting": lambda f: f["start"].update(gru=[1.0] * 25),
    "cost": lambda f: f["milliseconds"].update(attention=[1e9] * 5),
    "fixed-vector": lambda f: swap(f["exact"], "fixed", "attention"),
    "context": lambda f: equal(f, "loss_by_place", "with", like="without"),
    "parallel": lambda f: f["raw"].update(mixed=[0.0] * 3),
    "beams": turn_beams,
    "race": lambda f: f["milliseconds"].update(ctc=1e9),
    "alignment": turn_alignment,
    "data": turn_data,
    "induction": lambda f: swap(f["accuracy"], "1", "2"),
    "pronoun": turn_pronoun,
}
"""Changes of the committed figures, as a mistake in the experiment or in the library would cause them."""


def test_every_claim_has_figures_that_turn_it() -> None:
    assert sorted(TURNED) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_other_figures_turn_the_verdict(name: str) -> None:
    figures = copy.deepcopy(dict(committed(name).figures))
    before = one(name).judge(figures).outcome
    TURNED[name](figures)
    assert one(name).judge(figures).outcome != before


# --- constructions ---------------------------------------------------------------------------------


def test_attention_that_is_built_by_hand_finds_the_animal() -> None:
    assert pronoun.constructed_weight() > 0.99


def test_the_mistakes_that_leak_are_the_ones_that_are_measured() -> None:
    figures = one("future").measure(SMALL)["leak"]
    assert figures["minus_infinity"] == 0
    assert min(figures["zero_scores"], figures["zero_weights"], figures["batch_norm"]) > 1e-6


# --- the parts of verdicts -------------------------------------------------------------------------


@pytest.mark.parametrize(("some", "others", "above"), [([2, 3], [0, 1], True), ([2, 3], [0, 2], False)])
def test_one_side_is_clearly_above_if_all_of_its_seeds_are(some: Any, others: Any, above: bool) -> None:
    assert clearly_above(some, others) is above


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.47536, "0.475"), (25.0, "25"), (1234.4, "1234"), (3e-15, "3.0e-15"), (-0.5, "-0.5")],
)
def test_numbers_have_the_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text
