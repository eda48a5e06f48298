"""CTC decoding and scoring against every path there is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.decoding.ctc import aligned_log_probs, collapse, decode_aligned
from tests.models.test_nonautoregressive import network
from tests.reference import nonautoregressive as reference
from tests.tiny import padded, sentences


@given(st.lists(st.integers(0, 3)))
def test_a_path_collapses_as_in_the_paper(path: list[int]) -> None:
    assert collapse(path, blank=0) == reference.collapse(path, 0)


def test_the_translation_is_the_likeliest_path_collapsed() -> None:
    model, source = network("ctc", seed=2), sentences([4, 6])
    with torch.no_grad():
        found = [one for [one] in decode_aligned(model, *padded(source))]
        hidden, slots = model.write(model.encode(*padded(source)))
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
        hidden, slots = model.write(model.encode(*padded(source)))
        log_probs = model.output(hidden)[0].log_softmax(-1)
        value = float(aligned_log_probs(model, *padded(source), [target])[0])
    assert slots.tolist() == [4]
    assert value == pytest.approx(reference.ctc_log_prob(log_probs, target, 0), abs=1e-5)


def test_a_target_without_room_has_no_probability() -> None:
    model = network("ctc")
    with torch.no_grad():
        assert float(aligned_log_probs(model, *padded(sentences([2])), [[5, 5]])[0]) == -torch.inf


def test_a_batch_of_targets_equals_one_by_one() -> None:
    model, source, targets = network("ctc"), sentences([5, 3, 4]), [[4, 5, 6], [7], [8, 8]]
    with torch.no_grad():
        together = aligned_log_probs(model, *padded(source), targets).tolist()
        alone = [
            float(aligned_log_probs(model, *padded([row]), [target])[0])
            for row, target in zip(source, targets, strict=True)
        ]
    assert together == pytest.approx(alone, abs=1e-5)
