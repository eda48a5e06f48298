from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from saccade.model_folder.checkpoint import unique_tensors
from saccade.quantisation import quantise, quantised, restored
from tests.tiny import transformer


@given(
    outputs=st.integers(1, 20), inputs=st.integers(1, 40), size=st.floats(1e-6, 1e6), seed=st.integers(0, 99)
)
def test_each_weight_moves_by_half_a_step_at_most(outputs: int, inputs: int, size: float, seed: int) -> None:
    torch.manual_seed(seed)
    weight = size * torch.randn(outputs, inputs)
    rounded, scale = quantise(weight)
    assert rounded.dtype == torch.int8
    assert int(rounded.abs().amax(1).min()) == 127  # the whole range is used
    away = (rounded.double() * scale.double()[:, None] - weight.double()).abs()
    assert bool((away <= scale.double()[:, None] * 0.5001).all())


@given(outputs=st.integers(1, 20), inputs=st.integers(1, 40), seed=st.integers(0, 99))
def test_rounding_twice_is_rounding_once(outputs: int, inputs: int, seed: int) -> None:
    torch.manual_seed(seed)
    rounded, scale = quantise(torch.randn(outputs, inputs))
    assert torch.equal(quantise(rounded.float() * scale[:, None])[0], rounded)


def test_matrices_are_stored_as_bytes_and_the_rest_as_it_is() -> None:
    network = transformer(positions="learned", dtype=torch.float32)
    stored = quantised(network, unique_tensors(network))
    own = dict(network.named_modules())
    for name, tensor in unique_tensors(network).items():
        owner = own[name.rpartition(".")[0]]
        rounds = name.endswith(".weight") and isinstance(owner, nn.Linear | nn.Embedding)
        assert stored[name].dtype == (torch.int8 if rounds else torch.float32), name
        back = restored(stored)[name]
        torch.testing.assert_close(back, tensor, rtol=0, atol=float(tensor.abs().max()) / 250)
    assert restored(stored).keys() == unique_tensors(network).keys()
