"""Argmax, average and noisy parallel decoding against loops, and the laws they keep."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.decoding.nonautoregressive.fertility import decode_fertility, fertility_sequences
from saccade.decoding.nonautoregressive.forced_fertilities import most_likely_with_sum
from saccade.decoding.nonautoregressive.options import FertilityDecoding
from saccade.decoding.rerank import Reranker, target_log_probs
from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model
from saccade.use.translator import make_reranker
from tests.models.test_nonautoregressive import network
from tests.reference.nonautoregressive import copied_by_fertility
from tests.tiny import END, Words, padded, scheme, sentences, transformer

ROOMY = {"max_ratio": 100.0}


def spread_out(**changes: Any) -> Any:
    """A model whose fertilities are few and differ from piece to piece."""
    model = network("fertility", seed=3, max_fertility=4, **changes)
    model.predictor.weight.data.mul_(3)
    return model


def judge(**changes: Any) -> Reranker:
    return Reranker(transformer(seed=5), "power", 1.0)


def decode(model: Any, source: list[list[int]], **options: Any) -> Any:
    picks = options.pop("reranker", None)
    lines = options.pop("lines", range(len(source)))
    settings = FertilityDecoding(**{**ROOMY, **options})
    with torch.inference_mode():
        found = decode_fertility(
            scheme(model), *padded(source), options=settings, lines=lines, reranker=picks
        )
    return [one for [one] in found]


def chosen(model: Any, source: list[int], **options: Any) -> list[list[int]]:
    settings = FertilityDecoding(**{**ROOMY, **options})
    with torch.no_grad():
        memory = model.encode(*padded([source]))
        rows: list[list[int]] = fertility_sequences(scheme(model), memory, options=settings, lines=[0])[
            0
        ].tolist()
    return rows


def probabilities(model: Any, source: list[int]) -> list[list[float]]:
    with torch.no_grad():
        rows: list[list[float]] = (
            scheme(model).logits(model.encode(*padded([source])))[0].softmax(-1).tolist()
        )
    return rows


def test_argmax_takes_each_pieces_likeliest_fertility_and_the_end_symbol_has_none() -> None:
    model, source = spread_out(), sentences([6])[0]
    likeliest = [row.index(max(row)) for row in probabilities(model, source)]
    assert chosen(model, source) == [[*likeliest[:-1], 0]]
    assert len(set(likeliest)) > 1


def test_average_rounds_each_pieces_mean_fertility() -> None:
    model, source = spread_out(), sentences([6])[0]
    means = [sum(n * p for n, p in enumerate(row)) for row in probabilities(model, source)]
    assert chosen(model, source, fertilities="average") == [[*(round(mean) for mean in means[:-1]), 0]]


def test_words_are_the_likeliest_of_each_position_and_no_special_ids() -> None:
    model, source = spread_out(), sentences([6])[0]
    [found] = decode(model, [source])
    [counts] = chosen(model, source)
    with torch.no_grad():
        memory = model.encode(*padded([source]))
        copies = torch.tensor([copied_by_fertility(range(6), counts)])
        read = torch.tensor([source])[0, copies]
        hidden = model.decode(read, torch.tensor([sum(counts)]), memory)
        log_probs = model.output(hidden)[0].log_softmax(-1)
    log_probs[:, [0, 2, 3]] = -math.inf
    assert found.tokens == tuple(log_probs.argmax(-1).tolist())
    assert found.log_prob == found.score
    assert found.log_prob == pytest.approx(float(log_probs.max(-1).values.sum()), abs=1e-5)
    assert len(found.tokens) == sum(counts)


def test_a_position_does_not_know_what_another_one_says() -> None:
    """The decoder reads copies of the source alone: it has no embeddings of target tokens."""
    model = spread_out()
    assert model.target_embedding is None
    before = decode(model, sentences([6]))[0]
    with torch.no_grad():
        model.output.weight = torch.nn.Parameter(model.output.weight.clone())
        model.output.weight[before.tokens[0]] -= 100.0  # that word is never said again
    after = decode(model, sentences([6]))[0]
    changed = [a != b for a, b in zip(before.tokens, after.tokens, strict=True)]
    assert changed == [token == before.tokens[0] for token in before.tokens]


def test_one_candidate_with_a_judge_is_plain_decoding() -> None:
    model, source = spread_out(), sentences([6, 4])
    plain, judged = decode(model, source), decode(model, source, reranker=judge())
    assert plain == judged


def test_a_judge_scores_as_it_scores_its_own_translations() -> None:
    model, source, teacher = spread_out(), sentences([6, 4]), judge()
    for one, row in zip(decode(model, source, reranker=teacher, candidates=4), source, strict=True):
        with torch.no_grad():
            value = float(target_log_probs(teacher.model, *padded([row]), [[*one.tokens, END]])[0])
        assert one.score == pytest.approx(value / (len(one.tokens) + 1), abs=1e-5)


def test_the_score_is_the_judges_where_all_draws_are_equal_too() -> None:
    """So it does not depend on the draws, nor on what a sentence is batched with, whose scores are told."""
    model, source, teacher = spread_out(), sentences([6]), judge()
    model.predictor.bias.data[1] = 1000.0
    assert len(set(map(tuple, chosen(model, source[0], candidates=4)))) == 1
    [one] = decode(model, source, reranker=teacher, candidates=4)
    assert one.score == pytest.approx(teacher.scores(*padded(source), [one.tokens])[0], abs=1e-5)


def test_more_candidates_are_never_worse_in_the_judges_eyes() -> None:
    model, source, teacher = spread_out(), sentences([6, 4, 5]), judge()
    scores = [
        [one.score for one in decode(model, source, reranker=teacher, candidates=count)]
        for count in (2, 5, 20)
    ]
    for fewer, more in itertools.pairwise(scores):
        assert all(b >= a - 1e-6 for a, b in zip(fewer, more, strict=True))
    assert scores[-1] != scores[0]


def test_candidates_nest_and_depend_on_line_and_seed_alone() -> None:
    model, source = spread_out(), sentences([6])[0]
    many = chosen(model, source, candidates=6)
    assert chosen(model, source, candidates=3) == many[:3]
    assert chosen(model, source, candidates=6, seed=2) != many
    teacher = judge()
    together = decode(model, [source, *sentences([9, 3])], reranker=teacher, candidates=6, lines=[7, 8, 9])
    alone = decode(model, [source], reranker=teacher, candidates=6, lines=[7])
    assert together[0].tokens == alone[0].tokens


def test_drawn_fertilities_follow_the_models_probabilities() -> None:
    model, source = spread_out(), sentences([4])[0]
    drawn = chosen(model, source, candidates=4001)[1:]
    for place, row in enumerate(probabilities(model, source)[:-1]):
        counts = [sum(one[place] == n for one in drawn) / 4000 for n in range(5)]
        assert counts == pytest.approx(row, abs=0.04)


def test_a_runaway_sum_is_cut_and_the_length_is_still_the_sum() -> None:
    model = network("fertility")
    model.predictor.bias.data[40] = 50.0
    source = sentences([6, 3])
    for one, row in zip(decode(model, source, max_ratio=2.0, max_extra=1), source, strict=True):
        assert len(one.tokens) == 2 * (len(row) - 1) + 1


def test_without_any_fertility_nothing_is_written() -> None:
    model = network("fertility")
    model.predictor.bias.data[0] = 90.0
    assert [one.tokens for one in decode(model, sentences([6, 3]))] == [(), ()]


def test_several_candidates_need_a_judge() -> None:
    with pytest.raises(UserError, match="candidates = 3: this model cannot rank its candidates"):
        decode(spread_out(), sentences([4]), candidates=3)


def test_a_judge_ranks_with_the_teachers_own_penalty() -> None:
    assert (Reranker.of(transformer(), {}).penalty, Reranker.of(transformer(), {}).alpha) == ("gnmt", 0.6)
    assert Reranker.of(transformer(), {"length_penalty": "power", "alpha": 0.2}).alpha == 0.2


def test_a_teacher_that_writes_all_at_once_is_refused() -> None:
    teacher = Model(network("mask-predict"), network("mask-predict").config, Words())
    with pytest.raises(UserError, match="the reranker is a non-autoregressive translation model"):
        make_reranker(teacher, Words(), "cpu")


@given(st.data())
def test_the_likeliest_fertilities_of_a_sum_are_brute_force(data: st.DataObject) -> None:
    source, classes = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 4))
    total = data.draw(st.integers(0, source * (classes - 1)))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    log_probs = torch.randn(source, classes, dtype=torch.float64).log_softmax(-1)

    def value(counts: Any) -> float:
        return sum(float(log_probs[place, count]) for place, count in enumerate(counts))

    every = [c for c in itertools.product(range(classes), repeat=source) if sum(c) == total]
    assert value(most_likely_with_sum(log_probs, total)) == pytest.approx(max(map(value, every)))


def test_a_sum_out_of_reach_is_told() -> None:
    with pytest.raises(UserError, match="9 target pieces for 2 source pieces"):
        most_likely_with_sum(torch.zeros(2, 4), 9)
