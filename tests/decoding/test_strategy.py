"""How a model writes is chosen once, and the translator asks nothing else of it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.nonautoregressive.decoder import NonAutoregressiveDecoder
from saccade.decoding.rerank import Reranker
from saccade.decoding.strategy import decoder_of
from saccade.errors import UserError
from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models.nonautoregressive import SCHEMES
from saccade.text.tokenizer import Tokenizer, same_pieces
from saccade.use.translator import Translator
from tests import tiny
from tests.models.test_nonautoregressive import DECODERS, network
from tests.tiny import END, Words, padded, scheme, transformer


def model(decoder: str, tokenizer: Tokenizer | None = None, **changes: Any) -> Model:
    pieces = tokenizer or Words()
    size = vocabulary_of(pieces).source_size
    built = network(decoder, size=size, **changes)
    return Model(built, built.config, pieces)


def translator(decoder: str, **changes: Any) -> Translator:
    return Translator.of(model(decoder, **changes))


@pytest.mark.parametrize("decoder", DECODERS)
def test_each_model_gets_the_decoder_of_its_scheme(decoder: str) -> None:
    built = network(decoder)
    found = decoder_of(built)
    assert isinstance(found, NonAutoregressiveDecoder)
    assert found.scheme is SCHEMES[built.config.decoder]
    assert isinstance(found.engine, found.scheme) and found.engine.body is built
    assert isinstance(decoder_of(transformer()), Autoregressive)


def test_a_judge_without_work_is_refused() -> None:
    judge = Reranker(transformer(), "power", 1.0)
    with pytest.raises(UserError, match="token by token"):
        decoder_of(transformer(), reranker=judge)


def test_a_teacher_with_other_pieces_is_refused() -> None:
    assert same_pieces(Words(), Words())
    assert not same_pieces(Words(), Words(14))
    teacher = Model(transformer(), transformer().config, Words(14))
    with pytest.raises(UserError, match="the reranker has other pieces"):
        Translator.of(model("fertility"), reranker=teacher)


def test_the_translator_scores_what_is_a_probability() -> None:
    ctc = translator("ctc")
    [value] = ctc.score(["5 7 8"], ["6 6"])
    with torch.no_grad():
        hidden, slots = scheme(cast(Any, ctc.decoder).network).write(
            cast(Any, ctc.decoder).network.encode(*padded([[5, 7, 8, END]]))
        )
        log_probs = cast(Any, ctc.decoder).network.output(hidden).log_softmax(-1).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(
            log_probs, torch.tensor([[6, 6]]), slots, torch.tensor([2]), reduction="sum"
        )
    assert value == pytest.approx(-float(loss), abs=1e-4)
    for decoder, reason in (("fertility", "all fertilities"), ("mask-predict", "all orders")):
        with pytest.raises(UserError, match=reason):
            translator(decoder).score(["5"], ["6"])


def test_slots_show_their_own_translation_only() -> None:
    ctc = translator("ctc")
    [own] = ctc.translate(["5 7 8"])
    source, slots = ctc.pieces("5 7 8", own.text)
    assert (len(source), len(slots)) == (4, 6)
    with pytest.raises(UserError, match="does not depend on the target"):
        ctc.attention("5 7 8", "9 9 9 9")


@pytest.mark.parametrize("decoder", ["fertility", "mask-predict"])
def test_attention_is_of_any_target_that_is_asked_for(decoder: str) -> None:
    asked = translator(decoder)
    maps = asked.attention("5 7 8", "9 8 7 6 5")
    cross = [one for one in maps if one.kind == "cross"]
    assert cross and all(one.weights.shape[1:] == (5, 4) for one in cross)
    assert all((len(one.queries), len(one.keys)) == (5, 4) for one in cross)
    assert [len(side) for side in asked.pieces("5 7 8", "9 8 7 6 5")] == [4, 5]


@pytest.mark.parametrize("decoder", DECODERS)
def test_lines_of_any_sort_give_one_line_each(decoder: str) -> None:
    writer = Translator.of(model(decoder, tiny.sentence_pieces()))
    lines = ["", "the dog", " ", "\x00", "ß" * 40, "the dog sees its tail."]
    found = writer.translate(lines)
    assert [one.source for one in found] == lines
    assert all("\n" not in one.text and not one.failed for one in found)
    assert found[0].text == found[2].text == ""


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_forced_prefix_is_refused_and_empty_ones_are_none(decoder: str) -> None:
    writer = translator(decoder)
    assert writer.translate(["5 6"], prefixes=[""]) == writer.translate(["5 6"])
    with pytest.raises(UserError, match="cannot take a forced prefix"):
        writer.translate(["5 6", "7"], prefixes=["", "8"])


def test_int8_is_refused_where_there_is_no_engine_for_it() -> None:
    with pytest.raises(UserError, match="int8 is not possible for this model: head width"):
        Translator.of(model("ctc"), precision="int8").translate(["5 6"])
