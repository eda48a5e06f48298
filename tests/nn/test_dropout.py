from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from saccade.nn.dropout import Dropout, LayerDropout

COUNT = 400_000


def kept(rate: float, *, count: int = COUNT, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return Dropout(rate)(torch.ones(count))


@pytest.mark.parametrize("rate", [1 / 512, 0.1, 0.3, 0.5, 0.9])
def test_the_share_dropped_lies_within_binomial_bounds(rate: float) -> None:
    dropped = int((kept(rate) == 0).sum())
    # The rate is rounded to 1/65,536; five standard deviations.
    slack = COUNT / 65_536 + 5 * math.sqrt(COUNT * rate * (1 - rate))
    assert abs(dropped - COUNT * rate) < slack


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_what_is_kept_is_scaled_so_that_the_mean_stays(rate: float) -> None:
    out = kept(rate)
    assert len(torch.unique(out)) == 2
    assert float(out.max()) == pytest.approx(1 / (1 - rate), rel=1e-4)
    assert abs(float(out.double().mean()) - 1) < 5 * math.sqrt(rate / (1 - rate) / COUNT)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_neighbouring_elements_are_independent_of_each_other_and_of_their_neighbours(
    rate: float,
) -> None:
    drops = (kept(rate) == 0).double().view(-1, 4)
    draws = drops.size(0)
    lanes = drops - rate
    deviation = math.sqrt(rate * (1 - rate))
    assert float((drops.mean(0) - rate).abs().max()) < 5 * deviation / math.sqrt(draws) + 2**-16
    correlation = lanes.T @ lanes / draws / deviation**2
    following = lanes[:-1].T @ lanes[1:] / draws / deviation**2
    assert float((correlation - torch.eye(4)).abs().fill_diagonal_(0).max()) < 5 / math.sqrt(draws)
    assert float(following.abs().max()) < 5 / math.sqrt(draws)


def test_all_sixteen_bits_of_an_element_are_random() -> None:
    """At rates k/16 the share dropped is decided by the high bits, near 0 by the low ones."""
    for seed, rate in enumerate([k / 16 for k in range(1, 16)] + [3 / 65_536, 40 / 65_536]):
        dropped = int((kept(rate, seed=seed) == 0).sum())
        assert abs(dropped - COUNT * rate) < 5 * math.sqrt(COUNT * rate * (1 - rate)), rate


def test_gradients_pass_where_the_element_was_kept() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 7, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, out)


def test_outside_training_and_at_rate_zero_it_is_the_identity() -> None:
    x = torch.randn(5, 3)
    assert Dropout(0.7).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_the_same_seed_drops_the_same() -> None:
    assert torch.equal(kept(0.3, seed=5), kept(0.3, seed=5))
    assert not torch.equal(kept(0.3, seed=5), kept(0.3, seed=6))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3, 5), (4, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_are_kept(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    out = Dropout(0.3)(torch.ones(shape, dtype=dtype))
    assert out.shape == shape
    assert out.dtype == dtype


def test_a_transposed_input_is_dropped_like_any_other() -> None:
    torch.manual_seed(0)
    out = Dropout(0.5)(torch.ones(300, 400).T)
    assert out.shape == (400, 300)
    assert abs(float((out == 0).double().mean()) - 0.5) < 0.01


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="allowed are values from 0 up to, not including, 1"):
        Dropout(rate)


def test_a_rate_next_to_one_is_possible() -> None:
    assert bool(torch.isfinite(Dropout(0.999999)(torch.ones(100))).all())


def test_print_shows_the_rate() -> None:
    assert repr(Dropout(0.25)) == "Dropout(rate=0.25)"


def test_sentences_skip_a_layer_whole_each_by_itself_and_with_the_given_probability() -> None:
    torch.manual_seed(0)
    before, after = torch.zeros(4000, 3, 2), torch.ones(4000, 3, 2, requires_grad=True)
    out = LayerDropout(0.3)(before, after)
    taken = out.detach().mean((1, 2))
    assert set(taken.unique().tolist()) == {0.0, 1.0}
    assert abs(float((1 - taken).mean()) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 4000)
    out.sum().backward()
    assert after.grad is not None
    assert torch.equal(after.grad.mean((1, 2)), taken)
    assert LayerDropout(0.3).eval()(before, after) is after


def test_without_a_rate_no_layer_is_skipped_and_nothing_is_drawn() -> None:
    before = torch.get_rng_state()
    after = torch.ones(2, 3, 4)
    assert LayerDropout(0.0)(torch.zeros(2, 3, 4), after) is after
    assert torch.equal(before, torch.get_rng_state())
