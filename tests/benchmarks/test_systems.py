"""What the comparison of systems reports comes from functions that count right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pytest
import torch
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from torch import nn

from benchmarks.systems import layers
from benchmarks.systems.catalogue import SYSTEMS, experiment
from benchmarks.systems.layers import HEADS, KERNEL, KINDS, WIDTH, WINDOW, crossover, longest_chain
from benchmarks.systems.report import insert, table
from benchmarks.systems.runs import differences
from benchmarks.systems.scores import EDGES, Result, bucket, bucket_names, by_length
from saccade.errors import UserError
from saccade.evaluation import score_text
from saccade.models import build_model
from tests.tiny import vocabulary

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("length", [16, 512])
def test_multiplications_are_those_that_can_be_counted_by_hand(length: int) -> None:
    n, d = length, WIDTH
    seen = n if length <= 4 * WINDOW else 3 * WINDOW  # of a block: itself and as much on either side
    by_hand = {
        "attention": 4 * n * d**2 + 2 * n**2 * d,  # four products, scores, mixture
        "local": 4 * n * d**2 + 2 * n * seen * d,
        "recurrent": 6 * n * d**2,  # three gates, of input and state
        "convolution": 2 * KERNEL * n * d**2,  # values and gates
    }
    assert {kind: layers.multiplications(kind, length) for kind in KINDS} == by_hand


def test_one_layer_reaches_as_far_as_its_definition_says() -> None:
    assert {kind: layers.reach(kind, 100) for kind in KINDS} == {
        "attention": 99,
        "local": WINDOW,
        "recurrent": 99,
        "convolution": KERNEL // 2,
    }


@pytest.mark.parametrize(("length", "window"), [(10, 3), (9, 4)])
def test_the_path_between_both_ends_is_as_long_as_counted_by_hand(length: int, window: int) -> None:
    assert {kind: layers.path(kind, length, window=window) for kind in KINDS} == {
        "attention": 1,
        "local": math.ceil((length - 1) / window),
        "recurrent": length - 1,
        "convolution": length - 1,
    }


def test_the_longest_chain_is_counted_whatever_joins_on_the_way() -> None:
    x = torch.ones(2, requires_grad=True)
    leaf = 1  # where a gradient is added up counts too
    assert longest_chain(x * 2) == leaf + 1
    assert longest_chain((x * 2).exp() + x) == leaf + 3
    assert longest_chain(x + (x * 2).exp().exp()) == leaf + 4


def test_only_the_recurrent_chain_grows_with_length() -> None:
    def chains(length: int) -> dict[str, int]:
        x = torch.randn(1, length, WIDTH, requires_grad=True)
        return {kind: longest_chain(make()[1](x)) for kind, make in KINDS.items()}

    short, longer = chains(32), chains(64)
    assert [kind for kind in KINDS if longer[kind] > short[kind]] == ["recurrent"]
    steps = (longer["recurrent"] - short["recurrent"]) / 32
    assert steps == int(steps) > 1


def test_the_peak_is_that_of_what_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thrice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp().exp().exp()  # each keeps its result for the gradient

    module = Thrice()
    monkeypatch.setitem(layers.KINDS, "thrice", lambda: (module, module))
    size = 512 * WIDTH * 4
    assert 3 * size <= layers.peak_bytes("thrice", 512) <= 6 * size


@pytest.mark.parametrize(
    ("ours", "theirs", "place"),
    [
        ([1, 4, 16], [2, 4.0001, 8], 2),
        ([1, 4, 16], [2, 2, 2], math.sqrt(2)),
        ([3, 3, 3], [2, 2, 2], 1),
        ([1, 3, 1], [2, 2, 2], None),
        ([3, 1, 3], [2, 2, 2], 2 ** (1 + math.log(2) / math.log(3))),
    ],
)
def test_costs_cross_where_the_last_rise_above_begins(
    ours: list[float], theirs: list[float], place: float | None
) -> None:
    assert crossover([1, 2, 4], ours, theirs) == (place if place is None else pytest.approx(place, rel=1e-3))


def test_the_crossings_of_the_notes_table_are_where_its_formulas_are_equal() -> None:
    lengths = list(range(1, 2000))
    ours = [layers.predicted("attention", n) for n in lengths]
    expected = {"recurrent": WIDTH, "convolution": KERNEL * WIDTH, "local": 2 * WINDOW + 1}
    for kind, place in expected.items():
        theirs = [layers.predicted(kind, n) for n in lengths]
        assert crossover(lengths, ours, theirs) == pytest.approx(place, abs=1)
    assert WIDTH % HEADS == 0


def test_lines_are_scored_in_the_bucket_of_their_source() -> None:
    words = [1, EDGES[0], EDGES[0] + 1, EDGES[1], EDGES[-1], EDGES[-1] + 1]
    assert [bucket(n) for n in words] == [0, 0, 1, 1, len(EDGES) - 1, len(EDGES)]
    assert len(bucket_names()) == len(EDGES) + 1
    sources = ["a " * 3, "a " * 30, "a " * 4]
    texts, references = ["one two three four", "wrong words all along", "a b c d"], ["one two three four"] * 3
    first, last = by_length(sources, texts, references)
    assert (first["bucket"], first["lines"], first["words"]) == (0, 2, 3.5)
    assert first["bleu"] == score_text([texts[0], texts[2]], references[:2]).bleu
    assert (last["bucket"], last["lines"], last["words"], last["bleu"]) == (len(EDGES), 1, 30, 0)


MULTI30K = ROOT / ".." / "shared" / "data" / "multi30k"


@pytest.mark.skipif(not MULTI30K.exists(), reason="Multi30k does not lie beside the checkout")
def test_lower_cased_scoring_has_the_papers_tokens() -> None:
    """The corpus comes with the lower-cased, normalised, tokenised text that papers score."""
    raw = (MULTI30K / "test_2016_flickr.de").read_text(encoding="utf-8").split("\n")[:-1]
    papers = (
        (MULTI30K / "tok" / "test_2016_flickr.lc.norm.tok.de").read_text(encoding="utf-8").split("\n")[:-1]
    )
    tokenize = Tokenizer13a()
    same = [
        tokenize(line.lower()).split() == theirs.split() for line, theirs in zip(raw, papers, strict=True)
    ]
    assert (sum(same), len(same)) == (991, 1000)


def test_updates_are_those_until_a_score_was_first_reached() -> None:
    curve = [(100, 3.0), (200, 12.0), (300, 9.0), (400, 21.0)]
    result = Result(1, 400, 1.0, "", 1.0, "", curve, [])
    assert [result.updates_to(bleu) for bleu in (3, 10, 20, 30)] == [100, 200, 400, None]


def test_a_table_takes_its_place_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter <!-- b -->\n<!-- /b -->\n")
    for _ in range(2):
        insert(page, "a", table(["x", "y"], [["1", r"\2"]]))
    assert page.read_text() == (
        "before\n<!-- a -->\n| x | y |\n| --- | --- |\n| 1 | \\2 |\n<!-- /a -->\n"
        "after <!-- b -->\n<!-- /b -->\n"
    )
    with pytest.raises(UserError, match="no place for the table c"):
        insert(page, "c", "")


@pytest.mark.parametrize("name", ["systems-cpu.toml", "systems-gpu.toml"])
def test_systems_differ_in_model_rate_and_seed_alone(name: str) -> None:
    plans = {system: experiment(ROOT / "examples" / name, system, seed=2, overrides=[]) for system in SYSTEMS}
    for plan in plans.values():
        kinds = {key.partition(".")[0] for key, _, _ in differences(plans["transformer"], plan)}
        assert kinds <= {"model", "training"}
        keys = [key for key, _, _ in differences(plans["transformer"], plan) if key.startswith("training")]
        assert keys in ([], ["training.peak_rate"])
        assert plan.training.seed == 2


@pytest.mark.parametrize("name", ["systems-cpu.toml", "systems-gpu.toml"])
def test_systems_have_about_as_many_parameters(name: str) -> None:
    words = vocabulary(10_000)
    sizes = {}
    for system in SYSTEMS:
        plan = experiment(ROOT / "examples" / name, system, seed=1, overrides=[])
        with torch.device("meta"):
            module = cast(nn.Module, build_model(plan.model, words))
            sizes[system] = sum(p.numel() for p in module.parameters())
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes
