"""Search that is continued: sentences come and go, and each gets what it would get alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
from saccade.models.interface import Vocabulary
from tests.continuous import alone, as_they_come, jobs
from tests.kinds import KINDS, ending
from tests.reference.search import TableModel, random_table
from tests.tiny import padded, sentences

WORDS = Vocabulary(source_size=13, target_size=9, pad=0, start=2, end=1, shared=False)


def table_model(seed: int = 1, **settings: Any) -> TableModel:
    return TableModel(random_table(9, seed=seed, sharpness=1.5), WORDS, **settings)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=15, deadline=None)
def test_who_joins_at_any_moment_gets_exactly_what_it_gets_alone(seed: int, joins: bool) -> None:
    """Also where a model lets nobody join, and each addition takes its own steps."""
    model, work = table_model(seed, joins=joins), jobs(8, seed=seed)
    found = as_they_come(model, work, seed=seed)
    assert found == {number: alone(model, job) for number, job in enumerate(work)}


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_who_is_cancelled_leaves_the_others_as_they_are(seed: int) -> None:
    model, work = table_model(seed), jobs(8, seed=seed)
    found = as_they_come(model, work, seed=seed, cancelled={1, 2, 5})
    assert {0, 3, 4, 6, 7} <= found.keys()
    assert found == {number: alone(model, work[number]) for number in found}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lets_sentences_join(kind: str) -> None:
    model, work = ending(kind), jobs(9, seed=3)
    assert model.joins
    found = as_they_come(model, work, seed=3, cancelled={4})
    assert found.keys() >= set(range(9)) - {4}
    for number, hypotheses in found.items():
        expected = alone(model, work[number])
        assert [one.tokens for one in hypotheses] == [one.tokens for one in expected]
        for mine, other in zip(hypotheses, expected, strict=True):
            assert mine.score == pytest.approx(other.score, abs=1e-6)


VARIANTS: dict[str, dict[str, Any]] = {
    "learned": {"positions": "learned", "max_positions": 40},
    "none": {"positions": "none"},
    "rotary, windows": {"positions": "rotary", "window": (2, 0, 3, 1)},
    "relative, windows": {"positions": "relative", "max_distance": 2, "window": 3},
    "alibi, window": {"positions": "alibi", "window": 2},
    "sinusoidal, window": {"window": 1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_positions_and_windows_count_from_a_sentences_own_start(variant: str) -> None:
    model, work = ending("transformer", **VARIANTS[variant]), jobs(9, seed=4)
    for number, hypotheses in as_they_come(model, work, seed=4).items():
        expected = alone(model, work[number])
        assert [one.tokens for one in hypotheses] == [one.tokens for one in expected]


def test_a_batch_steps_once_for_sentences_of_all_options() -> None:
    """One call of the model for greedy search, beams and samples together, and for who joins them."""
    model = table_model()
    running = Search(model)
    source, lengths = padded(sentences([4, 5, 3], size=9))
    options = [DecodingConfig(beam=1), DecodingConfig(beam=3), DecodingConfig(sample=True, nbest=2)]
    running.add(source, lengths, options=options)
    running.step()
    running.add(source[:1], lengths[:1], options=DecodingConfig(beam=3))
    running.step()
    assert model.rows_stepped == [3, 1 + 3 + 2 + 1]
    running.step()
    assert len(model.rows_stepped) == 3


def test_options_of_each_sentence_equal_separate_runs() -> None:
    model, work = table_model(5), jobs(12, seed=5)
    found = search(
        model,
        *padded([job.source for job in work]),
        options=[job.options for job in work],
        lines=[job.line for job in work],
        prefixes=[job.prefix for job in work],
    )
    assert found == [alone(model, job) for job in work]


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4}, {"sample": True, "nbest": 2}])
def test_the_best_so_far_is_a_token_longer_after_each_step_until_one_ends(
    options: dict[str, Any],
) -> None:
    """What a client is shown while its sentence is decoded."""
    running = Search(ending("transformer"))
    (handle,) = running.add(*padded(sentences([6])), options=DecodingConfig(min_length=4, **options))
    for length in range(5):
        best = running.best(handle)
        assert len(best.tokens) == length
        assert best.score <= 0
        running.step()
    while not running.done:
        assert running.present == [handle]
        best = running.best(handle)
        running.step()
    ((taken, hypotheses),) = running.take_finished()
    assert taken == handle
    assert len(hypotheses[0].tokens) >= 4
    assert running.take_finished() == []
    with pytest.raises(KeyError):
        running.best(handle)


def test_cancelling_all_or_nobody_is_no_step() -> None:
    model = table_model()
    running = Search(model)
    first, second = running.add(*padded(sentences([4, 5], size=9)), options=DecodingConfig(beam=2))
    running.cancel(77)
    assert running.present == [first, second]
    running.cancel(first)
    assert running.present == [second]
    running.cancel(second)
    assert running.done
    running.step()
    assert model.rows_stepped == []
    assert running.take_finished() == []


def test_columns_that_nobody_needs_are_dropped() -> None:
    """A search that is always fed does not grow."""
    model = ending("transformer")
    running, widest = Search(model), 0
    for _ in range(60):
        running.add(*padded(sentences([3], seed=1)), options=DecodingConfig(beam=2, max_length=5))
        running.step()
        (batch,) = running._batches
        widest = max(widest, batch.state.past[0].length, batch.groups[0].candidates.length)  # type: ignore[attr-defined]
    assert widest <= 6
    assert len(running.present) <= 6
    assert batch.state.memory[0][0].size(0) <= 6  # type: ignore[attr-defined]


def test_an_error_before_a_step_leaves_the_search_as_it_was() -> None:
    model = table_model()
    running = Search(model)
    (handle,) = running.add(*padded(sentences([4], size=9)), options=DecodingConfig(beam=2))

    def fails(*_: object) -> None:
        raise MemoryError

    whole = model.encode
    model.encode = fails  # type: ignore[assignment, method-assign]
    with pytest.raises(MemoryError):
        running.add(*padded(sentences([4], size=9)), options=DecodingConfig(beam=2))
    model.encode = whole  # type: ignore[method-assign]
    while not running.done:
        running.step()
    assert [taken for taken, _ in running.take_finished()] == [handle]
