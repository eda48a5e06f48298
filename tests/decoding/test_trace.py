"""What a search records of its choices, against the choices themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.decoding.trace import Trace
from saccade.models.interface import Vocabulary
from tests.continuous import WAYS
from tests.reference.search import TableModel, random_table
from tests.tiny import padded, sentences

WORDS = Vocabulary(source_size=13, target_size=9, pad=0, start=2, end=1, shared=False)
SOURCE = (5, 7, 3)


def traced(
    seed: int, options: DecodingConfig, *, least: int = 10
) -> tuple[Trace, list[tuple[int, ...]], list[float]]:
    trace = Trace(least=least)
    model = TableModel(random_table(9, seed=seed), WORDS)
    (found,) = search(model, *padded([SOURCE]), options=options, traces=[trace])
    return trace, [one.tokens for one in found], [one.log_prob for one in found]


@given(st.integers(0, 10**6), st.sampled_from(WAYS))
@settings(max_examples=25, deadline=None)
def test_the_log_probabilities_on_the_way_to_a_result_add_up_to_its_own(
    seed: int, way: dict[str, object]
) -> None:
    options = DecodingConfig(**{**way, "max_extra": 6, "nbest": way.get("nbest", way.get("beam", 1))})
    trace, tokens, log_probs = traced(seed, options)
    ends = {}
    for number, step in enumerate(trace.steps):
        for one in step:
            path = trace.path(number, one)
            assert math.fsum(part.log_prob for part in path) == pytest.approx(one.total, abs=1e-5)
            if one.fate == "finished":
                ends[tuple(part.token for part in path)] = one.total
    for target, log_prob in zip(tokens, log_probs, strict=True):
        assert ends[*target, WORDS.end] == pytest.approx(log_prob, abs=1e-5)


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_a_beam_keeps_the_best_of_all_that_might_have_come(seed: int, beam: int, least: int) -> None:
    """Every step against all extensions, one by one."""
    trace, *_ = traced(seed, DecodingConfig(beam=beam, max_extra=4), least=least)
    table = random_table(9, seed=seed)
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for number, step in enumerate(trace.steps[:-1]):
        everything = sorted(
            (
                (total + gain, parent, token)
                for parent, (past, total) in enumerate(live)
                for token, gain in enumerate(table(SOURCE, past))
                if token not in {WORDS.pad, WORDS.start}
            ),
            key=lambda one: -one[0],
        )
        expected = everything[: max(2 * beam, least)]
        assert [(one.parent, one.token) for one in step] == [one[1:] for one in expected]
        assert [one.total for one in step] == pytest.approx([one[0] for one in expected], abs=1e-4)
        kept = [one for one in step if one.fate == "kept"]
        assert [one.place for one in kept] == list(range(beam))
        assert kept == [one for one in step if one.token != WORDS.end][:beam]
        finished = [one for one in step if one.fate == "finished"]
        assert finished == [one for one in step[:beam] if one.token == WORDS.end]
        live = [((*live[one.parent][0], one.token), one.total) for one in kept]
        assert [tuple(part.token for part in trace.path(number, one)) for one in kept] == [
            past for past, _ in live
        ]


@pytest.mark.parametrize("way", [{"beam": 1}, {"sample": True, "nbest": 1}])
def test_what_is_not_searched_still_shows_its_near_misses(way: dict[str, object]) -> None:
    trace, (tokens,), _ = traced(3, DecodingConfig(**{**way, "max_extra": 5}), least=4)
    taken = []
    for step in trace.steps[:-1]:
        assert len([one for one in step if one.fate == "dropped"]) >= 3
        (one,) = [one for one in step if one.fate != "dropped"]
        taken.append(one.token)
    assert tuple(taken) == tokens[: len(taken)]


def test_only_who_asks_is_recorded() -> None:
    model = TableModel(random_table(9, seed=1), WORDS)
    trace, options = Trace(), DecodingConfig(beam=3, max_extra=5)
    source, lengths = padded(sentences([4, 6, 3], size=9))
    found = search(model, source, lengths, options=options, traces=[None, trace, None])
    assert found == search(model, source, lengths, options=options)
    alone = Trace()
    search(model, source[1:2], lengths[1:2], options=options, traces=[alone])
    assert trace.steps == alone.steps
