"""Alignments by attention against one sentence at a time, and their way into fertilities."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from saccade.alignment.attention import aligned_by_attention
from saccade.alignment.fertilities import counted, fertilities
from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model
from saccade.use.translator import Translator
from tests import kinds, tiny
from tests.models.test_nonautoregressive import network
from tests.tiny import START, Words, padded, recorded_weights, sentences

SOURCES, TARGETS = sentences([6, 3, 8, 1, 4]), sentences([5, 7, 2, 3, 1], seed=1)


def translator(kind: str = "transformer", **changes: Any) -> Translator:
    return Translator.of(kinds.model(kind, Words(), **changes))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_piece_goes_where_the_decoder_looks_when_it_writes_that_piece(layer: int) -> None:
    model = translator(decoder_layers=3)
    found = aligned_by_attention(model, SOURCES, TARGETS, layer=layer)
    for source, target, alignment in zip(SOURCES, TARGETS, found, strict=True):
        if len(source) == 1 or len(target) == 1:
            assert alignment == []
            continue
        network = cast(Any, model.decoder).network
        with recorded_weights(network) as maps, torch.no_grad():
            network.decode(torch.tensor([[START, *target[:-1]]]), network.encode(*padded([source])))
        weights = maps[f"decoder.{layer - 1}.cross_attention"][0].mean(0)
        for place in range(len(target) - 1):
            row = weights[place, : len(source) - 1].tolist()
            assert alignment[place] == row.index(max(row))


def test_the_last_layer_aligns_unless_another_is_named() -> None:
    model = translator(decoder_layers=3)
    unset = aligned_by_attention(model, SOURCES, TARGETS)
    assert unset == aligned_by_attention(model, SOURCES, TARGETS, layer=3)
    assert unset != aligned_by_attention(model, SOURCES, TARGETS, layer=2)
    one = translator(decoder_layers=1)
    assert aligned_by_attention(one, SOURCES, TARGETS) == aligned_by_attention(one, SOURCES, TARGETS, layer=1)


@pytest.mark.parametrize("kind", ["recurrent, additive", "recurrent, dot, not fed", "convolutional"])
def test_other_kinds_of_models_align_too(kind: str) -> None:
    found = aligned_by_attention(translator(kind), SOURCES, TARGETS)
    assert [len(one) for one in found] == [4, 6, 1, 0, 0]


def test_fertilities_count_the_pieces_of_both_sides() -> None:
    model = Translator.of(tiny.model())
    lines = tiny.LINES[:6]
    rows = fertilities(model, [*lines, ""], [*(line.upper() for line in lines), ""])
    encode, tokenizer = model.tokenizer.encode_source, model.tokenizer
    for line, row in zip(lines, rows, strict=False):
        assert len(row) == len(encode([line])[0]) - 1
        assert sum(row) == len(tokenizer.encode_target([line.upper()])[0]) - 1
    assert rows[-1] == []


def test_counting_counts() -> None:
    assert counted([2, 0, 2, 2], 4) == [1, 0, 3, 0]


def test_what_cannot_align_is_refused() -> None:
    with pytest.raises(UserError, match="layer 9: the decoder has 2"):
        aligned_by_attention(translator(), SOURCES, TARGETS, layer=9)
    with pytest.raises(UserError, match="no cross-attention"):
        aligned_by_attention(translator("recurrent, none"), SOURCES, TARGETS)
    with pytest.raises(UserError, match="method giza: allowed are attention, eflomal"):
        fertilities(translator(), ["5"], ["6"], method="giza")
    with pytest.raises(UserError, match="only attention has layers"):
        fertilities(translator(), ["5"], ["6"], method="eflomal", layer=2)
    built = network("ctc")
    with pytest.raises(
        UserError, match="alignment needs a trained model whose attention depends on the target"
    ):
        aligned_by_attention(Translator.of(Model(built, built.config, Words())), SOURCES, TARGETS)
    limited = translator(positions="learned", max_positions=4)
    with pytest.raises(UserError, match="line 2: 6 pieces, but the model reads at most 4"):
        fertilities(limited, ["5", "5 6 7 8 9"], ["6", "7"])
