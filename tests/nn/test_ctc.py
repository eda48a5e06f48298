"""The likeliest path against trying all of them; torch's loss against adding all of them up."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import ctc_loss

from saccade.nn.ctc import best_paths
from tests.reference.nonautoregressive import best_path, collapse, ctc_log_prob

BLANK, SIZE = 0, 3

cases = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.integers(1, SIZE - 1), min_size=1, max_size=3)),
    min_size=1,
    max_size=3,
)


def setting(
    pairs: list[tuple[int, list[int]]], seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    slots = torch.tensor([slots for slots, _ in pairs])
    lengths = torch.tensor([len(target) for _, target in pairs])
    log_probs = torch.randn(len(pairs), int(slots.max()), SIZE, dtype=torch.float64).log_softmax(-1)
    targets = torch.zeros(len(pairs), int(lengths.max()), dtype=torch.int64)
    for row, (_, target) in enumerate(pairs):
        targets[row, : len(target)] = torch.tensor(target)
    return log_probs, targets, slots, lengths


@settings(max_examples=40)
@given(cases, st.integers(0, 99))
def test_best_paths_are_brute_force_and_torchs_loss_is_too(
    pairs: list[tuple[int, list[int]]], seed: int
) -> None:
    log_probs, targets, slots, lengths = setting(pairs, seed)
    classes = torch.cat([torch.full_like(targets[:, :1], BLANK), targets], 1)
    values = log_probs.gather(2, classes[:, None].expand(-1, log_probs.size(1), -1))
    paths, scores = best_paths(values, targets, slots, lengths, blank=BLANK)
    losses = ctc_loss(log_probs.transpose(0, 1), targets, slots, lengths, blank=BLANK, reduction="none")
    for row, (length, target) in enumerate(pairs):
        own = log_probs[row, :length]
        whole = ctc_log_prob(own, target, BLANK)
        assert -float(losses[row]) == pytest.approx(whole, abs=1e-9)
        if math.isinf(whole):
            assert math.isinf(float(scores[row]))
            continue
        expected = best_path(own, target, BLANK)
        assert paths[row, :length].tolist() == expected
        assert float(scores[row]) == pytest.approx(
            sum(float(own[slot, token]) for slot, token in enumerate(expected)), abs=1e-9
        )
        assert collapse(paths[row].tolist(), BLANK) == target
