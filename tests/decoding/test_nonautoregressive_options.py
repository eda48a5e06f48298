"""Settings that mean nothing to a model are refused with the reason."""

from __future__ import annotations

from itertools import product

import pytest

from saccade.config import build
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError

SEARCH = {
    "beam": (5, "no search from word to word"),
    "nbest": (2, "one translation a sentence"),
    "sample": (True, "words are not sampled"),
    "temperature": (2.0, "words are not sampled"),
    "top_k": (3, "words are not sampled"),
    "alpha": (0.5, "length is decided before"),
    "max_length": (9, "length is decided before"),
    "min_length": (9, "length is decided before"),
    "length_penalty": ("power", "length is decided before"),
    "banned": ([3], "no search from word to word"),
}


@pytest.mark.parametrize(
    ("scheme", "setting"),
    [pair for pair in product(DECODERS, SEARCH) if pair != ("dag", "alpha")],  # its beam has that exponent
)
def test_settings_of_search_mean_nothing(scheme: str, setting: str) -> None:
    value, reason = SEARCH[setting]
    with pytest.raises(UserError, match=f"decoding.{setting} = .*non-autoregressive model: .*{reason}"):
        build(DECODERS[scheme].options, {setting: value}, where="decoding")


@pytest.mark.parametrize(
    ("scheme", "setting", "reason"),
    [
        ("ctc", {"iterations": 2}, "decoder = mask-predict, which works in rounds"),
        (
            "fertility",
            {"iterations": 2},
            "decoder = mask-predict, which works in rounds",
        ),
        ("ctc", {"fertilities": "average"}, "only for models with decoder = fertility"),
        ("mask-predict", {"fertilities": "average"}, "only for models with decoder = fertility"),
        ("mask-predict", {"seed": 3}, "words are not sampled"),
        ("fertility", {"fertilities": "median"}, "decoding.fertilities"),
        ("fertility", {"candidatez": 2}, "did you mean decoding.candidates"),
    ],
)
def test_settings_of_another_scheme_are_refused(scheme: str, setting: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        build(DECODERS[scheme].options, setting, where="decoding")


@pytest.mark.parametrize("setting", [{"iterations": 4}, {"candidates": 4}, {"fertilities": "average"}])
def test_search_knows_none_of_them(setting: dict[str, object]) -> None:
    with pytest.raises(UserError, match="only for non-autoregressive models; this one"):
        build(DecodingConfig, setting, where="decoding")


@pytest.mark.parametrize("scheme", DECODERS)
def test_candidates_count_in_the_size_of_a_batch(scheme: str) -> None:
    assert build(DECODERS[scheme].options, {"candidates": 3}, where="decoding").rows_per_sentence == 3
