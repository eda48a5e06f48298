"""The batched prefix search against a dictionary of prefixes, and against every path."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saccade.decoding.nonautoregressive.prefix_search import in_torch, prefix_search
from tests.reference.nonautoregressive import ctc_log_prob

BLANK = 0
Search = Callable[..., tuple[Tensor, Tensor, Tensor]]


def by_hand(log_probs: Tensor, kept: int) -> dict[tuple[int, ...], float]:
    """Graves et al. 2006, section 3.2, with a beam; log_probs (slots, vocabulary). Of each prefix the
    probabilities with the blank, and with its last token, in the last slot."""
    found = {(): (1.0, 0.0)}
    for slot in log_probs.exp().tolist():
        blank: dict[tuple[int, ...], float] = defaultdict(float)
        token: dict[tuple[int, ...], float] = defaultdict(float)
        for prefix, (of_blank, of_token) in found.items():
            blank[prefix] += (of_blank + of_token) * slot[BLANK]
            for other in range(1, len(slot)):
                if prefix[-1:] == (other,):
                    token[prefix] += of_token * slot[other]
                    token[(*prefix, other)] += of_blank * slot[other]
                else:
                    token[(*prefix, other)] += (of_blank + of_token) * slot[other]
        both = {prefix: blank[prefix] + token[prefix] for prefix in {*blank, *token}}
        best = sorted(filter(both.__getitem__, both), key=lambda prefix: -both[prefix])[:kept]
        found = {prefix: (blank[prefix], token[prefix]) for prefix in best}
    return {prefix: math.log(sum(ends)) for prefix, ends in found.items()}


def searched(
    rows: list[Tensor], kept: int, search: Search = prefix_search
) -> list[dict[tuple[int, ...], float]]:
    """What the batched search finds; rows of log-probabilities (slots, vocabulary) of any lengths."""
    whole = torch.zeros(len(rows), max(map(len, rows)), rows[0].size(1), dtype=torch.float64)
    for row, log_probs in enumerate(rows):
        whole[row, : len(log_probs)] = log_probs
    values, tokens = whole[..., 1:].topk(whole.size(-1) - 1)
    slots = torch.tensor([len(row) for row in rows])
    found = search(whole[..., BLANK], tokens + 1, values, slots, kept=kept)
    result = []
    for ids, lengths, scores in zip(*found, strict=True):
        own = [
            (tuple(row[:length].tolist()), float(score))
            for row, length, score in zip(ids, lengths, scores, strict=True)
            if score > -math.inf
        ]
        assert len({prefix for prefix, _ in own}) == len(own)
        assert [score for _, score in own] == sorted((score for _, score in own), reverse=True)
        result.append(dict(own))
    return result


def random_rows(seed: int, slots: list[int], size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.randn(n, size, generator=generator, dtype=torch.float64)).log_softmax(-1) for n in slots
    ]


@pytest.mark.parametrize("search", [prefix_search, in_torch])
@given(
    seed=st.integers(0, 1000),
    slots=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    size=st.integers(2, 5),
    kept=st.integers(1, 8),
)
def test_it_equals_a_dictionary_of_prefixes(
    search: Search, seed: int, slots: list[int], size: int, kept: int
) -> None:
    rows = random_rows(seed, slots, size)
    for found, row in zip(searched(rows, kept, search), rows, strict=True):
        assert found == pytest.approx(by_hand(row, kept), abs=1e-9)


def test_wide_enough_it_counts_every_path_of_every_target() -> None:
    [row] = random_rows(1, [4], 3)
    found = searched([row], 40)[0]
    for target, log_prob in found.items():
        assert log_prob == pytest.approx(ctc_log_prob(row, target, BLANK), abs=1e-9)
    assert sum(map(math.exp, found.values())) == pytest.approx(1)


def test_it_finds_a_target_that_no_likeliest_path_shows() -> None:
    """Graves et al. 2006, figure 2: two slots, the blank at 0.6 in each; the paths to the token are more."""
    row = torch.tensor([[0.6, 0.4], [0.6, 0.4]], dtype=torch.float64).log()
    found = searched([row], 3)[0]
    assert next(iter(found)) == (1,)
    assert math.exp(found[1,]) == pytest.approx(0.64)
    assert math.exp(found[()]) == pytest.approx(0.36)
