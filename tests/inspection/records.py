"""Small models with random weights of every family, and the records of what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import Tokenizer
from saccade.use.classifier import TextLabeller
from saccade.use.frame_labeller import FrameLabeller
from saccade.use.generator import TextGenerator
from saccade.use.mask_filler import MaskFiller
from saccade.use.pointer import InputPointer
from saccade.use.tagger import WordLabeller
from saccade.use.transcriber import Transcriber
from saccade.use.translator import Translator
from tests import kinds
from tests.framed import frame_classifier, recogniser, write_arrays
from tests.labelled import bert, bert_tagger, classifier, pointer, tagger
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


def reading_records(folder: Path) -> dict[str, Inspection]:
    """The records of models that label, fill gaps, point, or read arrays, which are written to the folder."""
    [file] = write_arrays(folder, [9])
    transcriber = Transcriber(recogniser())
    transcriber.settings = {"max_length": 4}
    return {
        "tagger": WordLabeller(tagger()).inspect("the old town sleeps", name="tagger"),
        "tagger, lstm": WordLabeller(tagger(encoder="lstm")).inspect("the old town", name="tagger"),
        "bert-tagger": WordLabeller(bert_tagger()).inspect("the sleeping towns", name="bert-tagger"),
        "bert": MaskFiller(bert()).inspect("the [MASK] town [MASK]", name="bert"),
        "bert, no gap": MaskFiller(bert()).inspect("the town", name="bert"),
        "pointer": InputPointer(pointer()).inspect("0.1,0.5 0.9,0.2 0.4,0.8", name="pointer"),
        "classifier": TextLabeller(classifier()).inspect("the old town", name="classifier"),
        "frame-classifier": FrameLabeller(frame_classifier(strides=[2])).inspect(file, name="frames"),
        "recogniser": transcriber.inspect(file, name="recogniser"),
    }


ALL = [*SEQ2SEQ, *NONAUTOREGRESSIVE, *READERS]
__all__ = ["ALL", "LINE", "Words", "at_once", "reader", "record", "translator"]
