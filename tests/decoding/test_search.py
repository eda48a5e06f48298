"""Search against enumeration, against beam search with lists, and against the model itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoding.beam import Beam
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig, length_penalty
from saccade.decoding.sampling import Samples
from saccade.decoding.search import search
from saccade.models.families import Seq2Seq
from saccade.models.interface import Vocabulary
from tests.kinds import KINDS, ending
from tests.reference import search as reference
from tests.reference.search import LogProbs, Rules, TableModel, random_table
from tests.tiny import PAD, START, padded, sentences

CPU = torch.device("cpu")
WORDS = Vocabulary(source_size=9, target_size=5, pad=0, start=0, end=1, shared=False)
"""Tokens 2, 3 and 4 are words; the decoder starts with padding."""


def table_model(table: LogProbs, *, words: Vocabulary = WORDS, **limits: int) -> TableModel:
    return TableModel(table, words, **limits)


def run(
    model: Seq2Seq, sources: Sequence[Sequence[int]], *, lines: Sequence[int] | None = None, **options: Any
) -> list[list[Hypothesis]]:
    prefixes = options.pop("prefixes", None)
    ids, lengths = padded(sources)
    return search(model, ids, lengths, options=DecodingConfig(**options), lines=lines, prefixes=prefixes)


def assert_same(found: list[Hypothesis], expected: Sequence[tuple[tuple[int, ...], float, float]]) -> None:
    assert [one.tokens for one in found] == [tokens for tokens, _, _ in expected]
    for one, (_, log_prob, score) in zip(found, expected, strict=True):
        assert one.log_prob == pytest.approx(log_prob, abs=1e-5)
        assert one.score == pytest.approx(score, abs=1e-5)


# --- a table to add up by hand -------------------------------------------------------------------

BY_HAND = {
    # after: pad, end, a, b, c
    (): (0.0, 0.0, 0.6, 0.4, 0.0),
    (2,): (0.0, 0.4, 0.3, 0.3, 0.0),
    (3,): (0.0, 0.9, 0.1, 0.0, 0.0),
}


def by_hand(_: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
    chances = BY_HAND.get(tokens, (0.0, 1.0, 0.0, 0.0, 0.0))
    return [math.log(chance) if chance else -math.inf for chance in chances]


def test_greedy_takes_the_likeliest_token_and_beam_search_the_likeliest_sentence() -> None:
    model = table_model(by_hand)
    (greedy,) = run(model, [[5]], beam=1)
    assert greedy[0].tokens == (2,)
    assert greedy[0].log_prob == pytest.approx(math.log(0.6 * 0.4), abs=1e-6)
    (beam,) = run(model, [[5]], beam=2, nbest=2, alpha=0.0)
    assert [one.tokens for one in beam] == [(3,), (2,)]
    assert [one.score for one in beam] == pytest.approx([math.log(0.4 * 0.9), math.log(0.6 * 0.4)], abs=1e-6)


@pytest.mark.parametrize(("kind", "penalty"), [("gnmt", (7 / 6) ** 0.6), ("power", 2**0.6)])
def test_a_score_is_the_log_probability_under_the_penalty_with_the_end_symbol_counted(
    kind: str, penalty: float
) -> None:
    for beam in (1, 2):
        best = run(table_model(by_hand), [[5]], beam=beam, length_penalty=kind, alpha=0.6)[0][0]
        assert len(best.tokens) == 1
        assert best.score == pytest.approx(best.log_prob / penalty, rel=1e-6)


# --- everything tried ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        WORDS,
        Vocabulary(9, 5, pad=0, start=1, end=1, shared=False),  # starts with the end symbol
        Vocabulary(9, 5, pad=0, start=2, end=1, shared=False),
    ],
    ids=["starts with padding", "starts with the end symbol", "has a start symbol"],
)
@pytest.mark.parametrize(("kind", "alpha"), [("gnmt", 0.6), ("gnmt", 2.0), ("power", 1.0), ("power", 0.0)])
def test_a_beam_wide_enough_for_everything_finds_everything_in_order(
    words: Vocabulary, kind: str, alpha: float
) -> None:
    table = random_table(5, seed=7)
    banned = tuple({words.pad, words.start} - {words.end})
    rules = Rules(end=1, max_length=5, banned=banned)
    expected = reference.best(table, (4, 6), rules, kind=kind, alpha=alpha)
    assert len(expected) == sum((5 - 1 - len(banned)) ** n for n in range(5))
    (found,) = run(
        table_model(table, words=words),
        [[4, 6]],
        beam=400,
        nbest=400,
        length_penalty=kind,
        alpha=alpha,
        max_length=5,
    )
    assert_same(found, expected)


@given(st.integers(0, 10**6), st.data())
@settings(max_examples=50)
def test_a_wide_beam_is_brute_force_under_any_rules(seed: int, data: st.DataObject) -> None:
    table = random_table(5, seed=seed)
    max_length = data.draw(st.integers(2, 4))
    rules = Rules(
        end=1,
        max_length=max_length,
        banned=(0,),
        min_length=data.draw(st.integers(0, max_length - 1)),
        prefix=tuple(data.draw(st.lists(st.integers(2, 4), max_size=max_length - 1))),
    )
    kind, alpha = data.draw(st.sampled_from(["gnmt", "power"])), data.draw(st.sampled_from([0.0, 0.6, 1.5]))
    (found,) = run(
        table_model(table),
        [[4]],
        beam=50,
        nbest=50,
        length_penalty=kind,
        alpha=alpha,
        max_length=max_length,
        min_length=rules.min_length,
        prefixes=[rules.prefix],
    )
    assert_same(found, reference.best(table, (4,), rules, kind=kind, alpha=alpha))


# --- beam search with lists ----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.data())
@settings(max_examples=80)
def test_a_batch_gives_what_beam_search_with_lists_gives_for_each_sentence(
    seed: int, data: st.DataObject
) -> None:
    """Sentences of one batch end at different times and leave it; each has its own prefix and limit."""
    table = random_table(5, seed=seed, sharpness=data.draw(st.sampled_from([0.3, 1.0, 3.0])))
    sources = [
        tuple(data.draw(st.lists(st.integers(2, 8), min_size=1, max_size=4)))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    beam = data.draw(st.integers(2, 6))
    kind, alpha = data.draw(st.sampled_from(["gnmt", "power"])), data.draw(st.sampled_from([0.0, 0.6, 1.0]))
    extra, min_length = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 2))
    prefixes = [tuple(data.draw(st.lists(st.integers(2, 4), max_size=3))) for _ in sources]
    found = run(
        table_model(table),
        sources,
        beam=beam,
        nbest=beam,
        length_penalty=kind,
        alpha=alpha,
        max_ratio=1.5,
        max_extra=extra,
        min_length=min_length,
        prefixes=prefixes,
    )
    for source, prefix, results in zip(sources, prefixes, found, strict=True):
        limit = max(int(len(source) * 1.5) + extra, len(prefix) + 1, min_length + 1)
        rules = Rules(end=1, max_length=limit, banned=(0,), min_length=min_length, prefix=prefix)
        expected = reference.beam_search(table, source, rules, beam=beam, kind=kind, alpha=alpha)
        assert_same(results, expected)


@given(st.integers(0, 10**6), st.data())
@settings(max_examples=50)
def test_a_beam_of_one_is_greedy_search(seed: int, data: st.DataObject) -> None:
    table = random_table(5, seed=seed)
    rules = Rules(end=1, max_length=data.draw(st.integers(2, 7)), banned=(0,), min_length=1)
    expected = reference.greedy(table, (4,), rules)
    found = run(table_model(table), [[4]], beam=1, max_length=rules.max_length, min_length=1)[0]
    assert [one.tokens for one in found] == [expected]

    by_beam = by_itself(Beam.start(1, size=1, end=1, penalty="gnmt", alpha=0.6, device=CPU), table, rules)
    assert [one.tokens for one in by_beam] == [expected]
    assert by_beam[0].score == pytest.approx(found[0].score, abs=1e-6)


def by_itself(candidates: Beam | Samples, table: LogProbs, rules: Rules) -> list[Hypothesis]:
    """Drive candidates of one sentence without a model, a state or a batch."""
    limit = torch.tensor([rules.max_length])
    while not candidates.length or not bool(candidates.done(limit)):
        histories = candidates.tokens[0].tolist()
        following = [reference.allowed(table, (4,), tuple(past), rules) for past in histories]
        candidates, _ = candidates.advance(torch.tensor([following]))
    return candidates.results(0)


# --- laws of what is returned --------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 8))
@settings(max_examples=50)
def test_n_best_are_sorted_without_duplicates_and_no_more_than_asked_for(seed: int, beam: int) -> None:
    nbest = max(1, beam - 1)
    (found,) = run(table_model(random_table(5, seed=seed)), [[4, 5]], beam=beam, nbest=nbest, max_length=6)
    assert len(found) == nbest
    assert len({one.tokens for one in found}) == len(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True, "nbest": 5}])
def test_lengths_stay_within_their_limits(options: dict[str, Any]) -> None:
    model = table_model(random_table(5, seed=1, sharpness=0.1))
    for results in run(model, [[4], [5, 6]], min_length=3, max_length=5, **options):
        for one in results:
            assert 3 <= len(one.tokens) <= 4  # the end symbol is the fifth


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True, "nbest": 5}])
def test_the_length_limit_follows_the_source(options: dict[str, Any]) -> None:
    def endless(_: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        return [-9.0, -99.0, -0.1, -3.0, -3.0]

    found = run(table_model(endless), [[4], [4] * 6], max_ratio=2.0, max_extra=3, **options)
    assert [{len(one.tokens) for one in results} for results in found] == [{2 * 1 + 3 - 1}, {2 * 6 + 3 - 1}]


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True, "nbest": 4}])
def test_padding_and_start_are_never_written(options: dict[str, Any]) -> None:
    words = Vocabulary(9, 6, pad=0, start=2, end=1, shared=False)

    def wants_them(_: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        return [-0.1, -5.0, -0.1, -6.0, -6.0, -6.0]

    for results in run(table_model(wants_them, words=words), [[4]], max_length=6, **options):
        assert results
        assert all(not {0, 2} & set(one.tokens) for one in results)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3, "nbest": 3}, {"sample": True, "nbest": 5}])
def test_banned_tokens_are_never_written(options: dict[str, Any]) -> None:
    found = run(table_model(random_table(5, seed=3)), [[4]], max_length=6, banned=(3, 4), **options)
    assert all(results for results in found)
    assert not {3, 4} & {token for results in found for one in results for token in one.tokens}


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3, "nbest": 3}, {"sample": True, "nbest": 5}])
def test_a_forced_prefix_begins_every_result_and_is_scored(options: dict[str, Any]) -> None:
    table = random_table(5, seed=3)
    prefixes = [(), (4, 2), (3, 3, 3, 3, 3, 3)]
    found = run(table_model(table), [[4], [5], [6]], prefixes=prefixes, max_length=5, **options)
    for source, prefix, results in zip([(4,), (5,), (6,)], prefixes, found, strict=True):
        assert results
        for one in results:
            assert one.tokens[: len(prefix)] == prefix
            assert one.log_prob == pytest.approx(added_up(table, source, one.tokens), abs=1e-5)
            # The last prefix is longer than the limit: it makes room for itself and the end.
            assert len(one.tokens) < max(5, len(prefix) + 1)


def added_up(table: LogProbs, source: tuple[int, ...], tokens: tuple[int, ...]) -> float:
    whole = (*tokens, 1)
    return math.fsum(table(source, whole[:i])[whole[i]] for i in range(len(whole)))


@pytest.mark.parametrize(
    "options",
    [{"beam": 1}, {"beam": 4, "nbest": 4}, {"sample": True, "nbest": 4, "temperature": 0.7, "top_k": 2}],
)
def test_returned_log_probabilities_add_up(options: dict[str, Any]) -> None:
    """Also when sampling was sharpened: the log-probability is the model's own."""
    table = random_table(5, seed=5)
    for results in run(table_model(table), [[4, 5]], max_length=6, min_length=1, **options):
        for one in results:
            assert one.log_prob == pytest.approx(added_up(table, (4, 5), one.tokens), abs=1e-5)
            penalty = length_penalty(len(one.tokens) + 1, kind="gnmt", alpha=0.6)
            assert one.score == pytest.approx(one.log_prob / penalty, rel=1e-6)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True, "nbest": 4}])
@pytest.mark.parametrize("impossible", [{"prefixes": [(2, 3, 4), ()]}, {"min_length": 4, "max_length": 9}])
def test_rules_that_the_models_own_limit_makes_impossible_give_no_result(
    options: dict[str, Any], impossible: dict[str, Any]
) -> None:
    """A prefix as long as the longest target: the end symbol has no room. The others go on."""
    model = table_model(random_table(5, seed=5), max_target_length=3)
    found = run(model, [[4], [5]], **options, **impossible)
    assert found[0] == []
    assert bool(found[1]) == ("prefixes" in impossible)
    assert all(len(one.tokens) < 3 for one in found[1])


# --- batches -------------------------------------------------------------------------------------


def test_finished_sentences_leave_the_batch() -> None:
    def ends_after_its_source(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        done = len(tokens) >= len(source)
        return [-99.0, -0.01 if done else -99.0, -99.0 if done else -0.01, -99.0, -99.0]

    model = table_model(ends_after_its_source)
    sources = [[4] * 3, [4], [4] * 5]
    greedy = run(model, sources, beam=1)
    assert [len(results[0].tokens) for results in greedy] == [3, 1, 5]
    assert model.rows_stepped == [3, 3, 2, 2, 1, 1]

    model = table_model(ends_after_its_source)
    assert [len(results[0].tokens) for results in run(model, sources, beam=2, alpha=0.0)] == [3, 1, 5]
    assert model.rows_stepped[0] == 3
    assert all(a >= b for a, b in zip(model.rows_stepped[1:], model.rows_stepped[2:], strict=False))
    assert model.rows_stepped[-1] == 2


OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"beam": 1},
    "beam": {"beam": 4, "nbest": 3},
    "power": {"beam": 3, "length_penalty": "power", "alpha": 1.0},
    "sampling": {"sample": True, "nbest": 3, "top_p": 0.9, "temperature": 1.3},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_by_one_is_in_bulk(name: str, kind: str) -> None:
    model = ending(kind)
    sources = sentences([6, 1, 4, 4, 9, 2, 3], seed=4)
    together = run(model, sources, max_extra=8, lines=range(7), **OPTIONS[name])
    assert len({len(one.tokens) for results in together for one in results}) > 2
    for line, source in enumerate(sources):
        (alone,) = run(model, [source], max_extra=8, lines=[line], **OPTIONS[name])
        assert [one.tokens for one in alone] == [one.tokens for one in together[line]]
        for one, other in zip(alone, together[line], strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_returned_score_is_what_the_model_gives_the_whole_target(name: str, kind: str) -> None:
    model = ending(kind)
    sources = sentences([6, 1, 4], seed=4)
    for source, results in zip(sources, run(model, sources, max_extra=8, **OPTIONS[name]), strict=True):
        for one in results:
            whole = [*one.tokens, model.vocabulary.end]
            logits = model(torch.tensor([[START, *one.tokens]]), model.encode(*padded([source])))
            picked = logits[0].log_softmax(-1)[range(len(whole)), whole].detach()
            assert one.log_prob == pytest.approx(float(picked.sum()), abs=1e-4)


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_and_its_table_give_the_same(beam: int, kind: str) -> None:
    """The cached, reordered steps of a search against the full pass for every prefix."""
    model = ending(kind)

    def log_probs(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([[START, *tokens]]), model.encode(*padded([source])))
        values: list[float] = logits[0, -1].log_softmax(-1).tolist()
        return values

    sources = sentences([5, 2], seed=2)
    found = run(model, sources, beam=beam, nbest=beam, max_length=7)
    rules = Rules(end=model.vocabulary.end, max_length=7, banned=(PAD, START))
    for source, results in zip(sources, found, strict=True):
        if beam == 1:
            assert results[0].tokens == reference.greedy(log_probs, tuple(source), rules)
        else:
            expected = reference.beam_search(
                log_probs, tuple(source), rules, beam=beam, kind="gnmt", alpha=0.6
            )
            assert_same(results, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_searching_leaves_no_gradients_and_takes_a_model_in_any_precision(
    kind: str, dtype: torch.dtype
) -> None:
    model = ending(kind, dtype=dtype)
    run(model, sentences([4, 2]), beam=3)
    assert all(parameter.grad is None for parameter in model.parameters())
