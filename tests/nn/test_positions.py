from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from saccade.nn.positions import (
    Layout,
    LearnedPositions,
    NoPositions,
    SinusoidalPositions,
    distances,
    sinusoids,
)
from tests.reference.transformer import position_encoding

HALF_STEP = 2.0**-25 * 1.01
"""Largest rounding error of a float32 in [-1, 1]."""


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
@pytest.mark.parametrize("width", [2, 6, 64])
def test_sinusoids_are_the_papers_formula_rounded_once(width: int, layout: Layout) -> None:
    table = sinusoids(50, width, layout=layout)
    assert table.dtype == torch.float32
    assert np.abs(table.double().numpy() - position_encoding(50, width, layout=layout)).max() <= HALF_STEP


def test_sinusoids_do_not_drift_far_out() -> None:
    table = sinusoids(20_001, 32).double()
    for position in (5000, 20_000):
        exact = [math.sin(position / 10000 ** (2 * i / 32)) for i in range(16)]
        assert (
            float((table[position, ::2] - torch.tensor(exact, dtype=torch.float64)).abs().max()) <= HALF_STEP
        )


def test_both_layouts_hold_the_same_channels() -> None:
    paper, halves = sinusoids(9, 8), sinusoids(9, 8, layout="halves")
    assert torch.equal(halves, torch.cat([paper[:, ::2], paper[:, 1::2]], 1))


def test_fairseqs_sinusoids_have_their_own_frequencies_and_count_from_2() -> None:
    table = sinusoids(7, 8, layout="fairseq").double()
    for position in range(7):
        for i in range(4):
            angle = (position + 2) / 10000 ** (i / 3)
            assert abs(float(table[position, i]) - math.sin(angle)) <= HALF_STEP
            assert abs(float(table[position, 4 + i]) - math.cos(angle)) <= HALF_STEP
    with pytest.raises(ValueError, match="width of 4 or more"):
        sinusoids(7, 2, layout="fairseq")


def test_a_shift_is_a_rotation() -> None:
    """The reason the paper gives: PE(pos + k) is a linear function of PE(pos)."""
    exact = position_encoding(60, 16, layout="interleaved")
    ours = sinusoids(60, 16).double().numpy()
    for shift in (1, 7, 30):
        for i in range(8):
            angle = shift / 10000 ** (2 * i / 16)
            rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
            for table, tolerance in ((exact, 1e-10), (ours, 4 * HALF_STEP)):
                pair = table[:, 2 * i : 2 * i + 2]
                assert np.abs(pair[:-shift] @ rotation.T - pair[shift:]).max() < tolerance


def test_products_of_sinusoids_depend_on_the_distance_alone() -> None:
    for table, tolerance in (
        (torch.from_numpy(position_encoding(40, 32, layout="interleaved")), 1e-10),
        (sinusoids(40, 32).double(), 1e-5),
    ):
        gram = table @ table.T
        for distance in range(40):
            diagonal = gram.diagonal(distance)
            assert float(diagonal.max() - diagonal.min()) < tolerance
        assert float((gram.diagonal() - 16).abs().max()) < tolerance  # width / 2 pairs of sin^2 + cos^2


def test_sinusoids_stay_within_one_and_no_two_positions_are_alike() -> None:
    table = sinusoids(2000, 64)
    assert float(table.abs().max()) <= 1
    assert len(torch.unique(table, dim=0)) == 2000


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="even width, got 7"):
        sinusoids(3, 7)


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_the_table_grows_beyond_its_first_length(layout: Layout) -> None:
    module = SinusoidalPositions(8, layout=layout, length=4)
    x = torch.zeros(2, 3, 8)
    assert torch.equal(module(x, start=20)[0], sinusoids(23, 8, layout=layout)[20:])
    assert torch.equal(module(x)[1], sinusoids(3, 8, layout=layout))


def test_growing_keeps_the_type_and_is_not_stored() -> None:
    module = SinusoidalPositions(8, length=4).double()
    module(torch.zeros(1, 30, 8, dtype=torch.float64))
    assert module.table.dtype == torch.float64
    assert module.state_dict() == {}


def test_a_table_grown_while_translating_serves_training_afterwards() -> None:
    module = SinusoidalPositions(8, length=4)
    with torch.inference_mode():
        module(torch.zeros(1, 30, 8))
    module.table.add_(0)  # as copying buffers between processes does; refused for inference tensors


def test_learned_positions_are_added_from_the_start_given() -> None:
    module = LearnedPositions(6, length=10)
    x = torch.randn(2, 3, 6)
    assert torch.equal(module(x, start=7), x + module.table[7:10])


def test_learned_positions_end_somewhere() -> None:
    with pytest.raises(ValueError, match="4 learned positions, 5 are needed"):
        LearnedPositions(6, length=4)(torch.zeros(1, 2, 6), start=3)


def test_no_positions_add_nothing() -> None:
    x = torch.randn(2, 3, 6)
    assert NoPositions()(x, start=7) is x


def test_distances_count_from_the_query_to_the_key() -> None:
    assert distances(2, 4, offset=1).tolist() == [[-1, 0, 1, 2], [-2, -1, 0, 1]]
    assert torch.equal(distances(5, 5, offset=0)[3:], distances(2, 5, offset=3))
