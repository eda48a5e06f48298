from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from saccade.nn.rotary import RotaryPositions, rotate
from tests.reference.positions import turned
from tests.tiny import exact_positions


def exact(width: int) -> RotaryPositions:
    module = RotaryPositions(width).double()
    exact_positions(module)
    return module


def placed(x: Tensor, *, start: int = 0) -> Tensor:
    return exact(x.size(-1)).place(x, x, start=start)[0]


def test_each_position_turns_as_the_paper_says() -> None:
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    ours = placed(x, start=5)
    for b in range(2):
        for h in range(3):
            for i in range(7):
                expected = turned(x[b, h, i].numpy(), 5 + i)
                assert np.abs(ours[b, h, i].numpy() - expected).max() < 1e-12


def test_turning_is_multiplying_by_a_complex_number_of_size_one() -> None:
    x, angle = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    pairs = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones_like(angle), angle)
    expected = torch.view_as_real(pairs).flatten(-2)
    torch.testing.assert_close(rotate(x, sine=angle.sin(), cosine=angle.cos()), expected, rtol=0, atol=1e-12)


@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 99))
def test_products_depend_on_the_distance_alone(distance: int, shift: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=generator, dtype=torch.float64)

    def product(at: int, to: int) -> float:
        return float(placed(query, start=at).flatten() @ placed(key, start=to).flatten())

    assert product(distance, 0) == pytest.approx(product(distance + shift, shift), abs=1e-12)
    assert product(0, distance) == pytest.approx(product(shift, distance + shift), abs=1e-12)


def test_lengths_stay_and_position_zero_does_not_turn() -> None:
    x = torch.randn(1, 2, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(placed(x).norm(dim=-1), x.norm(dim=-1), rtol=0, atol=1e-12)
    assert torch.equal(placed(x)[:, :, 0], x[:, :, 0])


def test_the_table_grows_and_is_not_stored() -> None:
    module = RotaryPositions(4)
    x = torch.randn(1, 1, 2, 4)
    with torch.inference_mode():
        module.place(x, x, start=5000)
    assert module.state_dict() == {}
    query, _ = module.place(x.requires_grad_(), x, start=5000)
    query.sum().backward()
    torch.testing.assert_close(
        query[0, 0, 1], torch.from_numpy(turned(x[0, 0, 1].detach().numpy(), 5001)).float()
    )


def test_low_precision_stays() -> None:
    x = torch.randn(1, 1, 4, 4).bfloat16()
    query, key = RotaryPositions(4).place(x, x, start=0)
    assert (query.dtype, key.dtype) == (torch.bfloat16, torch.bfloat16)


def test_an_odd_head_is_refused() -> None:
    with pytest.raises(ValueError, match="even width, got 3"):
        RotaryPositions(3)
