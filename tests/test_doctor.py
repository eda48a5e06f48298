"""The largest safe batch: measured where it can be, and near what is estimated."""

from __future__ import annotations

import pytest
import torch

from saccade import doctor
from saccade.doctor import SAFE, LargestBatch, extras, largest_batch

CPU = torch.device("cpu")


def needs(batch: LargestBatch, tokens: int) -> float:
    return batch.bytes_fixed + batch.bytes_per_token * tokens


def test_the_measured_batch_fits_and_is_near_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_WORK", 4e9)  # smaller steps: seconds count here
    measured = largest_batch("tiny", device=CPU)
    monkeypatch.setattr(doctor, "_can_measure", lambda: False)
    estimated = largest_batch("tiny", device=CPU)
    assert not estimated.measured
    assert needs(measured, measured.tokens) <= SAFE * measured.free
    assert needs(measured, measured.tokens + 1024) > SAFE * measured.free
    if measured.measured:
        assert 0.7 < measured.bytes_per_token / estimated.bytes_per_token < 2.5


def test_the_estimate_counts_what_the_backward_pass_keeps() -> None:
    """Counted by hand for one more layer of each kind is tedious; proportions are not: memory a token grows
    with depth, and the big preset is twice as wide as base."""
    (_, tiny), (_, base), (parameters, big) = (
        doctor._saved_by_backward(name) for name in ("tiny", "base", "big")
    )
    assert tiny < base
    assert 1.9 < big / base < 2.1
    assert parameters == pytest.approx(184.6e6, rel=0.01)  # 213M of the paper less 29,000 x 1024 embeddings


def test_no_batch_is_safe_where_the_model_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda device: 1_000_000_000)
    batch = largest_batch("big", device=CPU)
    assert (batch.tokens, batch.measured) == (0, False)


def test_every_extra_but_the_developers_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {extra.package: extra.extra for extra in extras()}
    assert found["matplotlib"] == "plot"
    assert found["tensorboard"] == "tensorboard"
    assert "pytest" not in found
