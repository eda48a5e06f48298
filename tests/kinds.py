"""Tiny configurations of every kind of model, for the tests that all of them have to pass."""

from __future__ import annotations

from typing import Any

import torch

from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.text.tokenizer import Tokenizer
from tests.tiny import randomise, sentence_pieces, vocabulary

_TRANSFORMER = {"width": 12, "heads": 3, "feed_forward": 20, "encoder_layers": 2, "decoder_layers": 2}
_RECURRENT = {"kind": "recurrent", "width": 12, "embedding": 10, "encoder_layers": 1, "decoder_layers": 1}
_CONVOLUTIONAL = {
    "kind": "convolutional",
    "width": 12,
    "embedding": 10,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "max_positions": 80,
}

KINDS: dict[str, dict[str, Any]] = {
    "transformer": _TRANSFORMER,
    "transformer, copying": {**_TRANSFORMER, "copying": True},
    "transformer, relative": {**_TRANSFORMER, "positions": "relative", "max_distance": 3},
    "transformer, rotary": {**_TRANSFORMER, "positions": "rotary"},
    "transformer, alibi": {**_TRANSFORMER, "positions": "alibi"},
    "recurrent, additive": {**_RECURRENT, "encoder_width": 7},
    "recurrent, additive, deep lstm": {
        **_RECURRENT,
        "cell": "lstm",
        "encoder_layers": 2,
        "decoder_layers": 2,
        "attention_width": 5,
        "tied_embeddings": "none",
    },
    "recurrent, dot": {**_RECURRENT, "attention": "dot", "decoder_layers": 2},
    "recurrent, dot, not fed": {
        **_RECURRENT,
        "attention": "dot",
        "input_feeding": False,
        "decoder_layers": 2,
    },
    "recurrent, general, lstm": {
        **_RECURRENT,
        "attention": "general",
        "cell": "lstm",
        "encoder_width": 5,
        "encoder_layers": 2,
    },
    "recurrent, concat, lstm, not fed": {
        **_RECURRENT,
        "attention": "concat",
        "cell": "lstm",
        "input_feeding": False,
    },
    "recurrent, none": {**_RECURRENT, "attention": "none"},
    "recurrent, none, deep lstm": {**_RECURRENT, "attention": "none", "cell": "lstm", "decoder_layers": 2},
    "convolutional": _CONVOLUTIONAL,
    "convolutional, widths change, output normed": {
        **_CONVOLUTIONAL,
        "kernel": 4,
        "top_layers": [[16, 3], [9, 1]],
        "tied_embeddings": "none",
    },
}
"""What the test is called, and the `[model]` table."""

_TO_END = {
    "transformer": 3.0,
    "recurrent, additive": 2.0,
    "recurrent, additive, deep lstm": 4.0,
    "recurrent, none": 4.0,
    "recurrent, none, deep lstm": 0.5,
    "recurrent, concat, lstm, not fed": 0.5,
    "convolutional": 2.0,
    "convolutional, widths change, output normed": 2.0,
}
"""How much each of them, with random weights, has to be pushed to end some sentences by itself."""

ATTENDING = [name for name in KINDS if "none" not in name]


def network(
    name: str,
    *,
    words: Vocabulary | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    **changes: Any,
) -> Any:
    """In evaluation mode; float64 so that a mistake can't pass as rounding."""
    torch.manual_seed(seed)
    config = model_config({"dropout": 0.0, **KINDS[name], **changes})
    built: Any = build_model(config, words or vocabulary())
    randomise(built.to(dtype), seed=seed)
    return built.eval()


def model(name: str, tokenizer: Tokenizer | None = None, **changes: Any) -> Model:
    """A model with its tokeniser, ready for a translator or a folder."""
    tokenizer = tokenizer or sentence_pieces()
    built = network(name, words=vocabulary_of(tokenizer), **changes)
    return Model(network=built, config=built.config, tokenizer=tokenizer)


def ending(name: str, **changes: Any) -> Any:
    """A network that ends its sentences by itself, at different lengths."""
    built = network(name, **{"seed": 1, **changes})
    size = built.vocabulary.target_size
    built.output.bias = torch.nn.Parameter(torch.zeros(size, dtype=built.output.weight.dtype))
    with torch.no_grad():
        built.output.bias[built.vocabulary.end] = _TO_END.get(name, 0.0)
    return built
