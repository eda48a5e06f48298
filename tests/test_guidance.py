"""Guided alignment in a configuration: which head, and what is refused."""

from __future__ import annotations

import pytest

from saccade.errors import ConfigError
from saccade.runs.experiment import read_experiment
from saccade.tasks.guidance import guided_heads

TEXT = ("data.source=a", "data.target=b")
GUIDED = (*TEXT, "data.alignments=c", "training.guided_alignment=0.05")
SMALL = ("model.width=8", "model.heads=2", "model.feed_forward=8", "model.encoder_layers=1")


@pytest.mark.parametrize(
    ("settings", "layer", "head"),
    [
        ((*SMALL, "model.decoder_layers=6"), 5, 1),
        ((*SMALL, "model.decoder_layers=1"), 1, 1),
        ((*SMALL, "model.decoder_layers=6", "training.guided_layer=2", "training.guided_head=2"), 2, 2),
        (("model.kind=recurrent",), 1, 1),
        (("model.kind=convolutional", "model.decoder_layers=3"), 2, 1),
    ],
)
def test_the_head_is_the_one_asked_for_or_the_first_of_the_last_layer_but_one(
    settings: tuple[str, ...], layer: int, head: int
) -> None:
    found = guided_heads(read_experiment(overrides=[*GUIDED, *settings]))
    assert found is not None
    assert (found.layer, found.heads) == (layer, (head,))


def test_without_it_no_head_is_trained() -> None:
    assert guided_heads(read_experiment(overrides=[*TEXT])) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((*TEXT, "data.alignments=c"), r"data\.alignments: only used with training\.guided_alignment"),
        ((*TEXT, "training.guided_layer=1"), r"training\.guided_layer: only used with"),
        ((*TEXT, "training.guided_head=1"), r"training\.guided_head: only used with"),
        ((*TEXT, "training.guided_alignment=1"), r"data\.alignments is not set"),
        ((*GUIDED, "training.guided_layer=9"), r"guided_layer = 9: the decoder has 6 layers"),
        ((*GUIDED, "training.guided_head=9"), r"guided_head = 9: the layer has 8 heads"),
        ((*GUIDED, "training.compile=true"), r"training\.compile: guided alignment"),
        ((*GUIDED, "training.r_drop=5"), r"training\.r_drop: R-Drop reads each pair twice"),
        ((*GUIDED, "model.kind=recurrent", "model.attention=none"), "no cross-attention"),
        ((*GUIDED, "training.guided_alignment=-1"), r"training\.guided_alignment"),
        (
            (*GUIDED, "model.kind=nonautoregressive", "model.decoder=ctc"),
            "not for a non-autoregressive model",
        ),
        (
            ("data.text=a", "model.kind=bert", "training.guided_layer=1"),
            r"guided_layer: guided alignment is for models that write token by token",
        ),
        (
            ("data.text=a", "model.kind=transformer-lm", "training.guided_alignment=1"),
            "not for a language model",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_experiment(overrides=list(settings))
