"""Models that label, with random weights, for tests of how they are used."""

from __future__ import annotations

from typing import Any

import torch

from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.labelled import LabelledTokenizer
from saccade.text.positions import InputPositions
from saccade.text.wordpiece import WordPieceConfig, WordPieceTokenizer
from saccade.text.words import WordTokenizer
from tests.tiny import randomise

WORDS = ["the", "old", "town", "sleeps", "."]
LABELS = ["ADJ", "DET", "NOUN", "PUNCT", "VERB"]
SENTENCES = [["the", "old", "town"], ["town"], ["the", "sea", "sleeps", "."], ["old", "old"]]

_TAGGER = {
    "width": 12,
    "heads": 3,
    "feed_forward": 10,
    "spelling": 6,
    "spelling_embedding": 4,
    "max_bytes": 8,
}


def tagger(**changes: Any) -> Model:
    """In float64, so that a mistake cannot pass as rounding."""
    tokenizer = LabelledTokenizer(WordTokenizer(WORDS), LABELS, field="upos")
    return built({"kind": "tagger", **_TAGGER, **changes}, tokenizer)


def built(table: dict[str, Any], tokenizer: Any) -> Model:
    torch.manual_seed(0)
    config = model_config({"dropout": 0.0, **table})
    network = build_model(config, vocabulary_of(tokenizer))
    randomise(network.double())
    return Model(network=network.eval(), config=config, tokenizer=tokenizer)


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "town", "sleep", "##ing", ",", "##s"]
_BERT = {"width": 12, "layers": 2, "heads": 3, "feed_forward": 20, "max_positions": 24}


def pieces() -> WordPieceTokenizer:
    return WordPieceTokenizer(PIECES, WordPieceConfig())


def bert(**changes: Any) -> Model:
    return built({"kind": "bert", "attention_dropout": 0.0, **_BERT, **changes}, pieces())


def bert_tagger(**changes: Any) -> Model:
    tokenizer = LabelledTokenizer(pieces(), LABELS, field="upos")
    return built({"kind": "bert-tagger", "attention_dropout": 0.0, **_BERT, **changes}, tokenizer)


def classifier(**changes: Any) -> Model:
    tokenizer = LabelledTokenizer(WordTokenizer(WORDS), ["news", "talk", "verse"])
    table = {"kind": "classifier", "width": 12, "heads": 3, "feed_forward": 20, **changes}
    return built(table, tokenizer)


def bert_classifier(**changes: Any) -> Model:
    tokenizer = LabelledTokenizer(pieces(), ["news", "talk"])
    return built({"kind": "bert-classifier", "attention_dropout": 0.0, **_BERT, **changes}, tokenizer)


def pointer(**changes: Any) -> Model:
    table = {"kind": "pointer", "width": 12, "heads": 3, "feed_forward": 20, "layers": 2, **changes}
    return built(table, InputPositions())
