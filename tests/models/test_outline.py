"""An outline has the names, shapes and ties of the network itself, without memory or random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import ConfigError, UserError
from saccade.model_folder.checkpoint import unique_tensors
from saccade.models import KINDS, build_model, model_config
from saccade.models import outline as outlines
from saccade.models.interface import Vocabulary
from saccade.models.outline import blank, outline, parameters_in, require_room

VOCABULARY = Vocabulary(50, 50, pad=0, start=2, end=3, shared=True)
SMALL = {"width": 16, "heads": 2, "feed_forward": 24}
TABLES: list[dict[str, Any]] = [
    *({"kind": kind, "preset": "tiny"} for kind in KINDS),
    *(
        {**SMALL, "positions": positions}
        for positions in ("learned", "relative", "rotary", "alibi", "none", "sinusoidal")
    ),
    {**SMALL, "tied_embeddings": "none", "output_bias": True, "norm": "pre", "sinusoid_layout": "fairseq"},
    {"kind": "nonautoregressive", "preset": "tiny", "decoder": "ctc"},
    {"kind": "nonautoregressive", "preset": "tiny", "decoder": "mask-predict"},
    {"kind": "recurrent", "preset": "tiny", "cell": "lstm", "attention": "concat"},
]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_it_has_the_shapes_and_ties_of_the_network(table: dict[str, Any]) -> None:
    config = model_config(table)
    generator = torch.get_rng_state()
    made = outline(config, VOCABULARY)
    assert torch.equal(torch.get_rng_state(), generator)
    network = build_model(config, VOCABULARY)
    shapes = {name: tensor.shape for name, tensor in unique_tensors(network).items()}
    assert {name: tensor.shape for name, tensor in unique_tensors(made).items()} == shapes
    assert parameters_in(made) == sum(parameter.numel() for parameter in network.parameters())
    assert all(parameter.is_meta for parameter in made.parameters())
    assert type(made) is type(network) and made.config == network.config


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_blank_network_is_the_network_once_its_weights_are_loaded(table: dict[str, Any]) -> None:
    config = model_config(table)
    network, generator = build_model(config, VOCABULARY), torch.get_rng_state()
    made = blank(config, VOCABULARY)
    assert torch.equal(torch.get_rng_state(), generator)
    made.load_state_dict(network.state_dict())
    loaded = {**dict(made.named_parameters()), **dict(made.named_buffers())}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        assert torch.equal(tensor, loaded[name])
    assert unique_tensors(made).keys() == unique_tensors(network).keys()


@pytest.mark.parametrize("function", [nn.init.trunc_normal_, nn.init.normal_, nn.init.xavier_uniform_])
def test_drawing_ends_at_once_whatever_lies_in_memory(
    function: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Tensor] = []
    draws = lambda *_: found.append(function(torch.full((9, 9), 1e9)))  # noqa: E731
    monkeypatch.setattr(outlines, "build_model", draws)
    generator = torch.get_rng_state()
    blank(model_config({}), VOCABULARY)
    assert len(found) == 1 and torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"width": 10**30}, "model.width = 10000000000000000000: at most 16,777,216"),
        ({"encoder_layers": 1000}, "model.encoder_layers = 1000: at most 256"),
        ({"kind": "recurrent-lm", "layers": 10**6}, "model.layers = 1000000: at most 256"),
        ({"dropout": float("inf")}, "model.dropout"),
        ({"window": [1] * 1000}, "model.window: 1,000 values; at most 512"),
    ],
)
def test_sizes_have_bounds(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config(table)


def test_sizes_beyond_any_machine_are_one_message() -> None:
    most = 1 << 24
    table = {"kind": "convolutional", "width": most, "kernel": most - 1, "embedding": most}
    with pytest.raises(ConfigError, match="too large for any machine"):
        outline(model_config(table), VOCABULARY)


def test_a_model_that_cannot_be_trained_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_config(SMALL)
    count = parameters_in(outline(config, VOCABULARY))
    monkeypatch.setattr("saccade.machine._free_in_process", lambda: [16 * count])
    require_room(config, VOCABULARY)
    monkeypatch.setattr("saccade.machine._free_in_process", lambda: [16 * count - 1])
    with pytest.raises(UserError, match=f"training a model of {count:,} parameters needs"):
        require_room(config, VOCABULARY)
    require_room(config, VOCABULARY, trained=False)
