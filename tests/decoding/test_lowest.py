from __future__ import annotations

import torch

from saccade.decoding.nonautoregressive.lowest import lowest


def test_the_lowest_are_those_of_the_real_ones() -> None:
    values = torch.tensor([[-1.0, -3.0, -2.0, -9.0], [-5.0, -1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    real = torch.tensor([[True, True, True, False], [True, True, False, False], [True, True, True, False]])
    found = lowest(values, real, torch.tensor([2, 9, 1]))
    assert found.int().tolist() == [[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
