"""Every experiment of the lab: measured small, judged, drawn; and what turns its verdict.

Each verdict is turned twice: by figures as a wrong implementation would give them, from the committed results
(`TURNED`), and, where a part can be replaced, by a wrong implementation itself (`PLANTS`).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.lab.catalogue import EXPERIMENTS, find
from saccade.lab.experiment import Experiment, Settings, clearly_above
from saccade.lab.experiments import (
    depth,
    distance,
    heads,
    layers,
    lookup,
    masks,
    pointing,
    positions,
    scaling,
)
from saccade.lab.pages import OUTCOMES, index, number, page
from saccade.lab.results import Result, new_result, read_result
from saccade.nn.attention import AttentionPositions
from saccade.nn.positions import SinusoidalPositions, sinusoids

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "lab"
SMALL = Settings(small=True, seeds=(1,))
NAMES = [experiment.name for experiment in EXPERIMENTS]


def one(name: str) -> Experiment:
    [experiment] = find([name])
    return experiment


def outcome(name: str) -> str:
    return one(name).judge(one(name).measure(SMALL)).outcome


def committed(name: str) -> Result:
    result = read_result(COMMITTED, name)
    assert result is not None, f"docs/lab has no result of {name}; run `saccade lab {name} --out docs/lab`"
    return result


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_measures_judges_and_draws(name: str) -> None:
    experiment = one(name)
    figures = experiment.measure(SMALL)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures, "figures are in JSON types"
    assert experiment.judge(figures).outcome in OUTCOMES
    chart = experiment.chart(figures)
    assert all(len(series.values) == len(chart.positions) for series in chart.series)
    result = new_result(experiment, figures, SMALL, seconds=1.0)
    for language in ("en", "zh"):
        text = page(experiment, result, language, picture=None)
        assert experiment.claim.in_(language) in text
        assert experiment.title.in_(language) in index([(experiment, result)], language)
    assert all(line for _, line, _ in (code.place() for code in experiment.code))


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


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_committed_pages_are_drawn_from_the_committed_results(language: Any) -> None:
    found = [(experiment, committed(experiment.name)) for experiment in EXPERIMENTS]
    suffix = "" if language == "en" else ".zh"
    assert (COMMITTED / f"index{suffix}.md").read_text(encoding="utf-8") == index(found, language)
    for experiment, result in found:
        picture = f"pictures/{experiment.name}.{language}.svg"
        assert (COMMITTED / picture).is_file()
        drawn = (COMMITTED / f"{experiment.name}{suffix}.md").read_text(encoding="utf-8")
        assert drawn == page(experiment, result, language, picture=picture)


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
    "residuals": lambda f: (swap(f["accuracy"], "with", "without"), swap(f["probe"], "with", "without")),
    "norms": lambda f: f["batch"].update(company=[0.0] * 3),
    "warmup": turn_warmup,
    "smoothing": turn_smoothing,
    "exposure": turn_exposure,
    "forgetting": lambda f: f["start"].update(gru=[1.0] * 25),
    "cost": lambda f: f["milliseconds"].update(attention=[1e9] * 4),
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


# --- wrong implementations that turn it ------------------------------------------------------------


def unscaled(query: torch.Tensor, key: torch.Tensor, **_: Any) -> torch.Tensor:
    return (query @ key.transpose(-2, -1)).softmax(-1)


def hardest(query: torch.Tensor, key: torch.Tensor, **_: Any) -> torch.Tensor:
    scores = query @ key.transpose(-2, -1)
    return (scores == scores.amax(-1, keepdim=True)).to(scores)


def sines_alone(length: int, width: int, **_: Any) -> torch.Tensor:
    table = sinusoids(length, width)
    table[:, 1::2] = 0
    return table


class LookingAhead(AttentionPositions):
    """A causal mask that is off by one."""

    def attend(self, query: Any, key: Any, value: Any, **_: Any) -> torch.Tensor:
        past = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool).tril(1)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
        return scores.masked_fill(~past, -math.inf).softmax(-1) @ value


def with_positions(_: Any, width: int) -> torch.nn.Module:
    return SinusoidalPositions(width)


Patch = pytest.MonkeyPatch

PLANTS: dict[str, tuple[set[str], Callable[[Patch], None]]] = {
    "scaling": ({"holds", "only if"}, lambda p: p.setattr(scaling, "attention_weights", unscaled)),
    "future": ({"only if"}, lambda p: p.setattr("saccade.nn.attention.AttentionPositions", LookingAhead)),
    "padding": (
        {"only if"},
        lambda p: p.setattr("saccade.models.transformer.padding_mask", lambda *_: None),
    ),
    "identities": (
        {"holds"},
        lambda p: p.setattr(
            "saccade.nn.attention.merge_heads", lambda x: x.flip(1).transpose(1, 2).flatten(2)
        ),
    ),
    "query-key": (
        {"holds", "only if"},
        lambda p: p.setattr(heads.SameMatrix, "forward", lambda self, joint: joint),
    ),
    "lookup": ({"only if"}, lambda p: p.setattr(lookup, "attention_weights", hardest)),
    "sinusoids": ({"holds"}, lambda p: p.setattr(positions, "sinusoids", sines_alone)),
    "norms": ({"holds", "only if"}, lambda p: p.setattr(depth, "OverTokens", torch.nn.LayerNorm)),
    "forgetting": (
        {"holds", "only if"},
        lambda p: p.setattr(distance.RecurrentBody, "forward", lambda self, x, visible=None: x.cumsum(1)),
    ),
}
"""Experiments whose small run has one of these outcomes, and wrong implementations that give another."""


@pytest.mark.parametrize("name", sorted(PLANTS))
def test_a_wrong_implementation_turns_the_verdict(name: str, monkeypatch: Patch) -> None:
    right, plant = PLANTS[name]
    assert outcome(name) in right
    plant(monkeypatch)
    assert outcome(name) not in right


def test_positions_that_a_model_was_not_meant_to_have_are_noticed(monkeypatch: Patch) -> None:
    figures = one("order").measure(SMALL)
    assert figures["disorder"]["none"] < 1e-9 < figures["disorder"]["sinusoidal"]
    monkeypatch.setattr("saccade.lab.tagger._added", with_positions)
    assert one("order").measure(SMALL)["disorder"]["none"] > 1e-3


def test_residual_connections_that_are_not_left_out_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(depth, "Bare", lambda residual: residual)
    figures = one("residuals").measure(SMALL)
    assert figures["probe"]["with"] == figures["probe"]["without"]
    assert one("residuals").judge(figures).outcome == "does not hold"


def test_a_memory_that_is_not_passed_on_is_noticed(monkeypatch: Patch) -> None:
    reader = layers._reader
    monkeypatch.setattr(layers, "_reader", lambda memory, seed: reader(0, seed))
    assert outcome("context") == "does not hold"


def test_heads_that_are_not_separate_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(heads, "HEADS", (1, 1, 4))
    real = heads.Shape
    monkeypatch.setattr(heads, "Shape", lambda *sizes, **more: real(*sizes, **{**more, "heads": 1}))
    monkeypatch.setattr(heads, "without_head", lambda model, head, test: 0.0)
    figures = one("heads").measure(SMALL)
    assert figures["accuracy"]["1"][0] == figures["accuracy"]["4"][0]
    assert one("heads").judge(figures).outcome == "does not hold"


def test_attention_that_is_built_by_hand_finds_the_animal() -> None:
    assert pointing.constructed_weight() > 0.99


def test_the_mistakes_that_leak_are_the_ones_that_are_measured() -> None:
    figures = masks.measure_future(SMALL)["leak"]
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
