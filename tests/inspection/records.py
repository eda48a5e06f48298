"""Small models with random weights of every family, and the records of what they do."""

from __future__ import annotations

from typing import Any

import torch

from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import Tokenizer
from saccade.use.generator import TextGenerator
from saccade.use.translator import Translator
from tests import kinds
from tests.models.test_language_models import KINDS as TEXT_KINDS
from tests.models.test_nonautoregressive import DECODERS, SIZES
from tests.tiny import Words, randomise, sentence_pieces

SEQ2SEQ = sorted(kinds.KINDS)
NONAUTOREGRESSIVE = list(DECODERS)
READERS = sorted(TEXT_KINDS)
LINE = "the dog sees an apple."


def translator(kind: str, tokenizer: Tokenizer | None = None, **changes: Any) -> Translator:
    """Of a model in float64 that writes token by token and ends its sentences."""
    tokenizer = tokenizer or sentence_pieces()
    network = kinds.ending(kind, words=vocabulary_of(tokenizer), **changes)
    return Translator.of(Model(network, network.config, tokenizer))


def at_once(scheme: str, tokenizer: Tokenizer | None = None) -> Translator:
    """Of a non-autoregressive model."""
    return Translator.of(model_at_once(scheme, tokenizer))


def model_at_once(scheme: str, tokenizer: Tokenizer | None = None, *, seed: int = 0) -> Model:
    """A non-autoregressive model."""
    tokenizer = tokenizer or sentence_pieces()
    torch.manual_seed(seed)
    config = model_config({"kind": "nonautoregressive", "decoder": scheme, **SIZES})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    randomise(network, seed=seed)
    return Model(network.eval(), config, tokenizer)


def reader(kind: str, tokenizer: Tokenizer | None = None, **changes: Any) -> TextGenerator:
    """Of a language model in float64."""
    tokenizer = tokenizer or sentence_pieces()
    torch.manual_seed(0)
    config = model_config({"dropout": 0.0, **TEXT_KINDS[kind], **changes})
    network: Any = build_model(config, vocabulary_of(tokenizer))
    randomise(network.double())
    return TextGenerator(Model(network.eval(), config, tokenizer))


def record(kind: str) -> Inspection:
    """The record of a line, whatever the family."""
    if kind in NONAUTOREGRESSIVE:
        own = at_once(kind)
        return own.inspect(LINE, None if kind in {"ctc", "dag"} else "a cat eats", name=kind)
    if kind in READERS:
        return reader(kind).inspect(LINE, name=kind)
    return translator(kind).inspect(LINE, "a cat eats.", name=kind)


ALL = [*SEQ2SEQ, *NONAUTOREGRESSIVE, *READERS]
__all__ = ["ALL", "LINE", "Words", "at_once", "reader", "record", "translator"]
