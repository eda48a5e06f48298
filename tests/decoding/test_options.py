from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.config import build
from saccade.decoding.options import DecodingConfig, Penalty, length_penalty
from saccade.errors import UserError
from tests.reference.search import penalised


@given(st.floats(-100, -0.01), st.integers(1, 200), st.sampled_from(["gnmt", "power"]), st.floats(0, 3))
def test_the_penalties_are_those_they_are_named_after(
    log_prob: float, length: int, kind: Penalty, alpha: float
) -> None:
    score = log_prob / length_penalty(length, kind=kind, alpha=alpha)
    assert score == pytest.approx(penalised(log_prob, length, kind=kind, alpha=alpha), rel=1e-12)


def test_known_values_of_the_penalties() -> None:
    assert length_penalty(1, kind="gnmt", alpha=0.6) == 1
    assert length_penalty(7, kind="gnmt", alpha=1.0) == 2
    assert length_penalty(4, kind="power", alpha=0.5) == 2
    assert length_penalty(9, kind="power", alpha=0.0) == length_penalty(9, kind="gnmt", alpha=0.0) == 1


def test_defaults_are_the_papers() -> None:
    options = DecodingConfig()
    assert (options.beam, options.length_penalty, options.alpha) == (4, "gnmt", 0.6)
    assert (options.max_ratio, options.max_extra) == (1.0, 50)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"beam": 0}, "decoding.beam = 0"),
        ({"beam": 2, "nbest": 3}, "nbest 3 is more than beam 2; raise beam, or sample"),
        ({"temperature": 0.5}, "temperature: only used when sampling; set sample = true"),
        ({"top_k": 5, "top_p": 0.9}, "top_k, top_p: only used when sampling"),
        ({"sample": True, "temperature": 0.0}, "decoding.temperature = 0.0"),
        ({"sample": True, "top_p": 0.0}, "decoding.top_p = 0.0"),
        ({"sample": True, "top_p": 1.5}, "decoding.top_p = 1.5"),
        ({"min_length": 5, "max_length": 5}, "min_length 5 leaves no room below max_length 5"),
        ({"length_penalty": "google"}, "decoding.length_penalty"),
        ({"alpha": -1.0}, "decoding.alpha = -1.0"),
        ({"beams": 5}, "did you mean decoding.beam"),
    ],
)
def test_impossible_settings_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(DecodingConfig, table, where="decoding")
    assert message in str(caught.value)


def test_a_sentence_takes_as_many_rows_as_it_has_hypotheses() -> None:
    assert DecodingConfig(beam=5, nbest=2).rows_per_sentence == 5
    assert DecodingConfig(sample=True, nbest=7).rows_per_sentence == 7
