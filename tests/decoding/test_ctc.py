"""CTC decoding and scoring against every path there is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.ctc import best_targets, collapse, ctc_log_probs, decode_ctc
from saccade.decoding.nonautoregressive.options import CtcDecoding
from saccade.decoding.rerank import Reranker
from tests.models.test_nonautoregressive import network
from tests.reference import nonautoregressive as reference
from tests.tiny import padded, scheme, sentences, transformer


def decode(
    model: Any, source: list[list[int]], *, reranker: Reranker | None = None, **options: int
) -> list[Hypothesis]:
    with torch.inference_mode():
        found = decode_ctc(scheme(model), *padded(source), options=CtcDecoding(**options), reranker=reranker)
    return [one for [one] in found]


@given(st.lists(st.integers(0, 3)))
def test_a_path_collapses_as_in_the_paper(path: list[int]) -> None:
    assert collapse(path, blank=0) == reference.collapse(path, 0)


def test_the_translation_is_the_likeliest_path_collapsed() -> None:
    model, source = network("ctc", seed=2), sentences([4, 6])
    with torch.no_grad():
        found = decode(model, source)
        hidden, slots = scheme(model).write(model.encode(*padded(source)))
        log_probs = model.output(hidden).log_softmax(-1)
    log_probs[..., [2, 3]] = -torch.inf  # start and end; padding is the blank
    for row, one in enumerate(found):
        path = log_probs[row, : slots[row]].argmax(-1).tolist()
        assert list(one.path) == path
        assert list(one.tokens) == reference.collapse(path, 0)
        assert one.log_prob == pytest.approx(
            float(log_probs[row, : slots[row]].max(-1).values.sum()), abs=1e-5
        )


@pytest.mark.parametrize("target", [[4], [4, 5], [5, 5], [4, 5, 4], []])
def test_a_targets_log_probability_is_the_sum_over_every_path(target: list[int]) -> None:
    model, source = network("ctc", size=6), sentences([3], size=6)
    with torch.no_grad():
        hidden, slots = scheme(model).write(model.encode(*padded(source)))
        log_probs = model.output(hidden)[0].log_softmax(-1)
        value = float(ctc_log_probs(scheme(model), *padded(source), [target])[0])
    assert slots.tolist() == [4]
    assert value == pytest.approx(reference.ctc_log_prob(log_probs, target, 0), abs=1e-5)


def test_a_target_without_room_has_no_probability() -> None:
    model = network("ctc")
    with torch.no_grad():
        assert float(ctc_log_probs(scheme(model), *padded(sentences([2])), [[5, 5]])[0]) == -torch.inf


def test_a_batch_of_targets_equals_one_by_one() -> None:
    model, source, targets = network("ctc"), sentences([5, 3, 4]), [[4, 5, 6], [7], [8, 8]]
    with torch.no_grad():
        together = ctc_log_probs(scheme(model), *padded(source), targets).tolist()
        alone = [
            float(ctc_log_probs(scheme(model), *padded([row]), [target])[0])
            for row, target in zip(source, targets, strict=True)
        ]
    assert together == pytest.approx(alone, abs=1e-5)


def test_several_candidates_are_the_likeliest_targets() -> None:
    """Wide enough, the search forgets nothing: every target, its probability that of all its paths."""
    model, [source] = network("ctc", size=6), sentences([3], size=6)
    found = decode(model, [source], candidates=150)[0]
    every = [list(target) for n in range(5) for target in itertools.product([4, 5], repeat=n)]
    with torch.no_grad():
        log_probs = [float(ctc_log_probs(scheme(model), *padded([source]), [target])[0]) for target in every]
    best = max(range(len(every)), key=log_probs.__getitem__)
    assert list(found.tokens) == every[best]
    assert found.log_prob == found.score == pytest.approx(log_probs[best], abs=1e-5)


def test_a_judge_picks_among_them_and_tells_its_score() -> None:
    model, source = network("ctc", seed=3), sentences([6, 4, 2])
    judge = Reranker(transformer(seed=5), "power", 1.0)
    found = decode(model, source, reranker=judge, candidates=6)
    with torch.inference_mode():
        every = best_targets(scheme(model), *padded(source), count=6)
        for one, row, own in zip(found, source, every, strict=True):
            scores = judge.scores(*padded([row] * len(own)), [other.tokens for other in own])
            best = max(range(len(own)), key=scores.__getitem__)
            assert one.tokens == own[best].tokens
            assert one.score == pytest.approx(scores[best], abs=1e-5)
            assert one.log_prob == pytest.approx(own[best].log_prob, abs=1e-5)
    assert decode(model, source, reranker=judge) == decode(model, source)


def test_candidates_do_not_depend_on_what_is_decoded_beside() -> None:
    model, source = network("ctc", seed=4), sentences([3, 9, 6])
    together = decode(model, source, candidates=5)
    alone = [decode(model, [row], candidates=5)[0] for row in source]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)
