from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from saccade.models.recording import record_attention
from saccade.nn.attention import SelfAttention
from tests.tiny import padded, recorded_weights, sentences, transformer

SOURCE, TARGET = sentences([6, 3]), sentences([5, 5], seed=1)


@pytest.fixture(params=["post", "pre"])
def maps(request: pytest.FixtureRequest) -> Mapping[str, Tensor]:
    model = transformer(norm=request.param)
    with recorded_weights(model) as found:
        model(padded(TARGET)[0], model.encode(*padded(SOURCE)))
    return found


def test_each_attention_is_recorded_under_its_name(maps: Mapping[str, Tensor]) -> None:
    shapes = {name: tuple(weights.shape) for name, weights in maps.items()}
    assert shapes == {
        "encoder.layers.0.self_attention": (2, 3, 6, 6),
        "encoder.layers.1.self_attention": (2, 3, 6, 6),
        "decoder.0.self_attention": (2, 3, 5, 5),
        "decoder.0.cross_attention": (2, 3, 5, 6),
        "decoder.1.self_attention": (2, 3, 5, 5),
        "decoder.1.cross_attention": (2, 3, 5, 6),
    }


def test_rows_sum_to_one_and_what_is_hidden_is_exactly_zero(maps: Mapping[str, Tensor]) -> None:
    for name, weights in maps.items():
        torch.testing.assert_close(
            weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12, msg=name
        )
        if not name.startswith("decoder.") or name.endswith("cross_attention"):
            assert not bool(weights[1, :, :, 3:].any()), name  # padding of the shorter source
            assert bool((weights[0] > 0).all()), name
        else:
            assert not bool(weights.triu(1).any()), name
            assert bool((weights.diagonal(dim1=-2, dim2=-1) > 0).all()), name


def test_recorded_weights_are_those_that_mixed_the_values() -> None:
    module = SelfAttention(12, heads=3, causal=True).double().eval()
    network = nn.Sequential(module)
    x = torch.randn(2, 4, 12, dtype=torch.float64)
    with recorded_weights(network) as maps:
        out = network(x)
    value = module.query_key_value(x)[..., 24:].unflatten(-1, (3, 4)).transpose(1, 2)
    mixed = (maps["0"] @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(module.output(mixed), out, rtol=0, atol=1e-12)


def test_recording_changes_nothing_and_leaves_nothing_behind() -> None:
    model = transformer()
    before = model(padded(TARGET)[0], model.encode(*padded(SOURCE)))
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    with recorded_weights(model) as maps:
        during = model(padded(TARGET)[0], model.encode(*padded(SOURCE)))
    recorded = {name: weights.clone() for name, weights in maps.items()}
    after = model(padded(TARGET)[0], model.encode(*padded(SOURCE)))
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(maps[name], weights) for name, weights in recorded.items())
    assert not any(weights.requires_grad for weights in maps.values())


def test_hooks_are_removed_after_an_error() -> None:
    model = transformer()
    with pytest.raises(RuntimeError, match="stop"), recorded_weights(model):
        raise RuntimeError("stop")
    assert all(not module._forward_hooks for module in model.modules())


def test_several_calls_of_a_module_are_the_queries_of_one_map() -> None:
    model = transformer()
    attention = model.decoder[0].cross_attention
    x = torch.randn(1, 3, 12, dtype=torch.float64)
    memory = attention.project_memory(torch.randn(1, 4, 12, dtype=torch.float64))  # type: ignore[union-attr,operator]
    with recorded_weights(model) as at_once:
        attention(x, memory)  # type: ignore[operator]
    with recorded_weights(model) as in_turn:
        for position in range(3):
            attention(x[:, position : position + 1], memory)  # type: ignore[operator]
    torch.testing.assert_close(dict(in_turn), dict(at_once), rtol=0, atol=1e-12)


def test_maps_say_who_attends_to_what_in_which_layer() -> None:
    model = transformer()
    with record_attention(model) as found:
        model(padded(TARGET)[0], model.encode(*padded(SOURCE)))
    assert sorted((one.kind, one.layer, one.heads) for one in found.values()) == [
        ("cross", 1, 3),
        ("cross", 2, 3),
        ("decoder", 1, 3),
        ("decoder", 2, 3),
        ("encoder", 1, 3),
        ("encoder", 2, 3),
    ]
