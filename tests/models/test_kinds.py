"""The `[model]` table: kinds, presets, and messages about what does not fit."""

from __future__ import annotations

import pytest
import torch

from saccade.config import Section
from saccade.errors import UserError
from saccade.models import KINDS, build_model, model_config
from saccade.models.transformer import PRESETS, Transformer, TransformerConfig
from tests.tiny import config, vocabulary


def test_an_empty_table_is_the_papers_base_model() -> None:
    assert model_config({}) == TransformerConfig() == model_config({"preset": "base"})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_what_the_table_does_not_name(preset: str) -> None:
    built = model_config({"preset": preset, "dropout": 0.25})
    assert isinstance(built, TransformerConfig)
    assert built.dropout == 0.25
    expected = {**TransformerConfig().model_dump(), **PRESETS[preset], "dropout": 0.25}
    assert built.model_dump() == expected


def test_presets_are_the_sizes_that_they_are_known_for() -> None:
    sizes = {
        name: (c.encoder_layers, c.decoder_layers, c.width, c.feed_forward, c.heads)
        for name in PRESETS
        if isinstance(c := model_config({"preset": name}), TransformerConfig)
    }
    assert sizes == {
        "tiny": (4, 4, 128, 256, 4),
        "small": (3, 3, 256, 1024, 4),
        "base": (6, 6, 512, 2048, 8),
        "big": (6, 6, 1024, 4096, 16),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_builds_from_its_configuration(kind: str) -> None:
    with torch.device("meta"):
        assert build_model(model_config({"kind": kind}), vocabulary()).vocabulary == vocabulary()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "transfomer"}, "model.kind = 'transfomer': allowed are transformer"),
        ({"kind": ["transformer"]}, "model.kind = "),
        ({"preset": "huge"}, "model.preset = 'huge': allowed for kind transformer are tiny, small"),
        ({"preset": ["tiny"]}, "model.preset = "),
        ({"widht": 128}, "did you mean model.width"),
        ({"width": 130}, "width 130 is not a multiple of heads 8"),
        ({"width": 15, "heads": 3}, "width 15 is odd"),
        ({"dropout": 1.0}, "model.dropout = 1.0"),
        ({"activation": "tanh"}, "model.activation"),
        ({"encoder_layers": 0}, "model.encoder_layers = 0"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        model_config(table)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"kind": "recurrent", "window": 4},
            "model.window = 4: a setting of kind transformer and recogniser, and this",
        ),
        ({"kind": "convolutional", "positions": "rotary"}, "model.positions = 'rotary': a setting of kind t"),
        ({"cell": "lstm"}, "a setting of kind recurrent and recurrent-lm and pointer, and this model is tr"),
        ({"embedding": 64}, "a setting of kind recurrent and convolutional, and this model is transformer"),
        ({"kind": "convolutional", "heads": 4, "cell": "gru"}, "model.heads = 4: a setting of kind transf"),
    ],
)
def test_a_setting_of_another_kind_is_refused_and_it_says_whose_it_is(
    table: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        model_config(table)
    assert message in str(caught.value)
    assert str(caught.value).count("leave it out") == len(table.keys() - {"kind"})


def test_no_key_of_any_kind_is_ignored_by_another() -> None:
    for kind, known in KINDS.items():
        for other, owner in KINDS.items():
            for key in owner.config.model_fields.keys() - known.config.model_fields.keys():
                with pytest.raises(UserError) as caught:
                    model_config({"kind": kind, key: 1})
                assert str(caught.value).startswith(f"model.{key} = 1: a setting of kind ")
                assert other in str(caught.value)


def test_an_odd_width_serves_learned_positions() -> None:
    assert build_model(config(width=15, positions="learned"), vocabulary())


def test_a_configuration_that_does_not_fit_the_vocabulary_is_the_users_error() -> None:
    with pytest.raises(UserError, match="tied_embeddings = all needs one vocabulary"):
        build_model(config(tied_embeddings="all"), vocabulary(13, target_size=17))


def test_a_configuration_of_no_known_kind_is_ours() -> None:
    with pytest.raises(TypeError, match="no model is configured by Section"):
        build_model(Section(), vocabulary())


def test_building_follows_the_global_generator() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_model(config(), vocabulary()))
    first, second = models
    assert isinstance(first, Transformer)
    assert isinstance(second, Transformer)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
