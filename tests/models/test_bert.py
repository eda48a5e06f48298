"""BERT's encoder in the models that use it: padding, company, words of several pieces, recorded attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade.models.bert import Bert, BertTagger
from saccade.models.recording import record_attention
from saccade.text.inputs import padded_columns
from saccade.use.mask_filler import MaskFiller
from saccade.use.tagger import WordLabeller
from tests.labelled import LABELS, bert, bert_tagger

SENTENCES = [["the", "sleeping", "town"], ["the"], ["sleeping", "\u200d", "the", "town", "the"]]


def test_a_word_has_the_state_of_its_first_piece() -> None:
    labeller = WordLabeller(bert_tagger())
    network: Any = labeller.network
    assert isinstance(network, BertTagger)
    inputs = padded_columns(labeller.reader.columns, labeller.reader.as_lines(SENTENCES[:1]))
    assert labeller.reader.pieces(SENTENCES[0]) == ["[CLS]", "the", "sleep", "##ing", "town", "[SEP]"]
    assert inputs["firsts"].values.tolist() == [[1, 2, 4]]
    states = network.encoder(inputs["source"].values, inputs["source"].lengths)
    torch.testing.assert_close(network.encode(inputs)[0], states[0, [1, 2, 4]])


@pytest.mark.parametrize("crf", [False, True])
def test_alone_as_in_bulk_and_words_of_nothing_have_a_label(crf: bool) -> None:
    labeller = WordLabeller(bert_tagger(crf=crf))
    together = labeller.predict(SENTENCES)
    for words, one in zip(SENTENCES, together, strict=True):
        [alone] = labeller.predict([words])
        assert one.labels == alone.labels
        assert one.log_prob == pytest.approx(alone.log_prob, abs=1e-6)
        assert len(one.labels) == len(words) and set(one.labels) <= set(LABELS)


def test_a_sentence_of_too_many_pieces_is_a_problem() -> None:
    [found] = WordLabeller(bert_tagger(max_positions=8)).predict([["sleeping"] * 4])
    assert found.problem == "10 pieces, but the model reads at most 8; split the sentence."


def test_padding_changes_nothing_and_attention_sums_to_one() -> None:
    filler = MaskFiller(bert())
    network = filler.network
    assert isinstance(network, Bert)
    ids = filler.tokenizer.encode_source(["the town", "sleeping the town"])
    column = filler._column(ids)
    column.values[0, 4:] = 7  # garbage behind the end
    with record_attention(network) as maps:
        states = network.encode(column)
    torch.testing.assert_close(states[0, :4], network.encode(filler._column(ids[:1]))[0])
    for one in maps.values():
        assert one.kind == "encoder"
        torch.testing.assert_close(one.weights.sum(-1), torch.ones_like(one.weights[..., 0]))
        assert not one.weights[0, :, :, 4:].any()


def test_every_parameter_takes_part_except_the_other_segment() -> None:
    filler = MaskFiller(bert(pooler=True, segments=1))
    network: Any = filler.network
    column = filler._column(filler.tokenizer.encode_source(["sleeping [MASK] the town , town the"]))
    states = network.encode(column)
    (network.output(network.hidden(states)).square().sum() + network.pooled(states).sum()).backward()
    unused = [key for key, one in network.named_parameters() if one.grad is None]
    assert not unused
    assert network.output.weight is network.encoder.embedding.tokens.weight


def test_the_record_of_a_text_names_what_the_model_would_fill_in() -> None:
    filler = MaskFiller(bert())
    record = filler.inspect("the [MASK] town")
    assert record.output == filler.fill("the [MASK] town")[0][0].piece
    assert record.tokens["source"].pieces == ("[CLS]", "the", "[MASK]", "town", "[SEP]")
    assert len(record.maps) == 2
