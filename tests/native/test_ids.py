"""Ids and lengths that are out of range are an error, never an address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from saccade.engine.transformer import TransformerEngine
from saccade.native.library import library, why_not
from saccade.native.linear import pack
from saccade.native.prefixes import prefix_beam_search
from saccade.native.softmax import softmax_gradient_
from tests.tiny import padded, sentences, transformer, vocabulary

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)

WRONG = [-1, 90, 2**31, 2**40, -(2**62)]
SIZES: dict[str, Any] = {"width": 64, "heads": 2, "feed_forward": 96, "dtype": torch.float32}


@pytest.fixture(scope="module")
def engine() -> TransformerEngine:
    return TransformerEngine(transformer(words=vocabulary(90), **SIZES))


@pytest.mark.parametrize("wrong", WRONG)
def test_source_and_target_ids(engine: TransformerEngine, wrong: int) -> None:
    source, lengths = padded(sentences([9, 1, 4], size=80))
    memory = engine.encode(source, lengths)
    bad = source.clone()
    bad[2, 3] = wrong
    with pytest.raises(IndexError, match="a token id is not in the vocabulary"):
        engine.encode(bad, lengths)
    with pytest.raises(IndexError, match="a token id is not in the vocabulary"):
        engine.decode(bad, memory)
    with pytest.raises(IndexError, match="a token id is not in the vocabulary"):
        engine.step(torch.tensor([5, wrong, 5]), engine.start(memory, 9))
    bad = source.clone()
    bad[1, 5] = wrong  # padding is never looked up
    assert torch.equal(engine.encode(bad, lengths).states[:, 1, :1], memory.states[:, 1, :1])


@pytest.mark.parametrize("wrong", [-1, 10, 2**40])
def test_lengths_sentences_and_ancestors(engine: TransformerEngine, wrong: int) -> None:
    source, lengths = padded(sentences([9, 1, 4], size=80))
    memory, bad = engine.encode(source, lengths), torch.tensor([9, wrong, 4])
    with pytest.raises(IndexError, match="out of range"):
        engine.encode(source, bad)
    damaged = replace(memory, lengths=bad)
    with pytest.raises(IndexError, match="out of range"):
        engine.step(torch.tensor([5, 5, 5]), engine.start(damaged, 9))
    with pytest.raises(IndexError, match="out of range"):
        engine.decode(source, damaged)
    foreign = torch.tensor([0, max(-1, min(wrong, 99)), 1], dtype=torch.int32)
    damaged = replace(memory, sentence=foreign)
    with pytest.raises(IndexError, match="out of range"):
        engine.step(torch.tensor([5, 5, 5]), engine.start(damaged, 9))
    with pytest.raises(IndexError, match="out of range"):
        engine.decode(source, damaged)
    _, state = engine.step(torch.tensor([5, 5, 5]), engine.start(memory, 9))
    state.ancestors[1, 0] = foreign[1]
    with pytest.raises(IndexError, match="out of range"):
        engine.step(torch.tensor([5, 5, 5]), state)


@pytest.mark.parametrize("wrong", [-1, 40, 2**40])
def test_targets_of_a_loss(wrong: int) -> None:
    logits = torch.randn(3, 40)
    before = logits.clone()
    with pytest.raises(IndexError, match="a target is not one of the classes"):
        softmax_gradient_(logits, torch.tensor([0, wrong, 39]), smoothing=0.1)
    assert torch.equal(logits, before)
    with pytest.raises(ValueError, match="targets for 3 rows"):
        softmax_gradient_(logits, torch.tensor([0, 1]), smoothing=0.1)


def test_slots_of_prefix_search() -> None:
    tokens = torch.ones(2, 4, 3, dtype=torch.int64)
    with pytest.raises(IndexError, match="out of range"):
        prefix_beam_search(torch.zeros(2, 4), tokens, torch.zeros(2, 4, 3), torch.tensor([4, 5]), kept=2)


def test_rows_of_another_width_or_type_and_lengths_beyond_the_rows() -> None:
    layer = pack(torch.ones(3, 32), None, precision="float32")
    for x in (torch.ones(2, 16), torch.ones(2, 48), torch.ones(2, 32, dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"takes float32 \(\.\.\., 32\)"):
            layer(x)
        with pytest.raises(ValueError, match=r"takes float32 \(\.\.\., 32\)"):
            layer.argmax(x)
    with pytest.raises(IndexError, match="out of range"):
        layer.into(torch.empty(2, 4, 3), torch.ones(2, 4, 32), torch.tensor([4, 5]))


def test_there_are_no_positions_beyond_the_learned_ones() -> None:
    network = transformer(words=vocabulary(90), positions="learned", max_positions=20, **SIZES)
    engine = TransformerEngine(network)
    source, lengths = padded(sentences([20, 7], size=80))
    memory = engine.encode(source, lengths)
    engine.start(memory, 20)
    with pytest.raises(ValueError, match="20 learned positions, 21 are needed"):
        engine.start(memory, 21)
    with pytest.raises(ValueError, match="20 learned positions, 21 are needed"):
        engine.encode(*padded(sentences([21], size=80)))
