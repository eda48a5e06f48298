"""Schedules equal their closed forms; the optimiser is the paper's."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from saccade.config import build
from saccade.errors import UserError
from saccade.training.optim import OptimizerConfig, cosine, inverse_sqrt, learning_rate, make_optimizer


def paper_rate(step: int, *, width: int, warmup: int) -> float:
    """Equation 3 of "Attention Is All You Need", as printed."""
    return width**-0.5 * min(step**-0.5, step * warmup**-1.5)


@pytest.mark.parametrize("step", [1, 10, 3999, 4000, 4001, 100_000])
def test_inverse_sqrt_is_the_papers_curve(step: int) -> None:
    peak = paper_rate(4000, width=512, warmup=4000)
    assert peak == pytest.approx(6.99e-4, rel=1e-3)
    expected = paper_rate(step, width=512, warmup=4000)
    assert peak * inverse_sqrt(step, warmup=4000) == pytest.approx(expected, rel=1e-12)


def test_cosine_rises_to_its_peak_and_falls_to_its_end() -> None:
    values = [cosine(step, warmup=10, steps=110, final=0.1) for step in range(1, 121)]
    assert values[4] == pytest.approx(0.5)
    assert max(values) == values[9] == 1.0
    assert values[59] == pytest.approx(0.55)  # half way
    assert values[109] == values[119] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(values[9:]))


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_every_schedule_reaches_its_peak_at_the_end_of_warm_up_and_never_passes_it(
    schedule: str, warmup: int
) -> None:
    config = build(
        OptimizerConfig, {"schedule": schedule, "warmup": warmup, "peak_rate": 0.5}, where="training"
    )
    rates = [learning_rate(step, config=config, steps=50) for step in range(1, 51)]
    assert max(rates) <= 0.5
    assert rates[max(warmup, 1) - 1] == pytest.approx(0.5, rel=2e-3)
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)


def test_adam_takes_the_papers_settings_and_steps_as_written_out_by_hand() -> None:
    layer = nn.Linear(3, 1, bias=False)
    start = layer.weight.detach().clone().double()
    optimizer = make_optimizer(layer, OptimizerConfig())
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    first = second = torch.zeros(1, 3, dtype=torch.float64)
    weight = start
    for step in range(1, 4):
        gradient = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64) * step
        layer.weight.grad = gradient.float()
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.98 * second + 0.02 * gradient**2
        corrected = (first / (1 - 0.9**step)) / ((second / (1 - 0.98**step)).sqrt() + 1e-9)
        weight = weight - 0.01 * corrected
    torch.testing.assert_close(layer.weight.detach().double(), weight, atol=1e-6, rtol=1e-5)


def test_impossible_betas_are_refused_in_the_users_words() -> None:
    with pytest.raises(UserError, match="betas"):
        build(OptimizerConfig, {"betas": [0.9, 1.0]}, where="training")
