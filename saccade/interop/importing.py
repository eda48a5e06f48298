"""Importing a published model folder as a Saccade model."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from saccade.checkpoint import Model, vocabulary_of
from saccade.config import build
from saccade.distribution import version as own_version
from saccade.errors import DamagedFile, NotFound, Unsupported
from saccade.interop.generation import decoding_settings
from saccade.interop.m2m import m2m_model, m2m_tokenizer
from saccade.interop.marian import marian_model, marian_tokenizer
from saccade.interop.published import Settings, read_weights, weight_files
from saccade.interop.weights import load_published
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.text.corpus import file_hash
from saccade.text.settings import first_line
from saccade.text.tokenizer import Tokenizer, between

ARCHITECTURES: dict[
    str, tuple[Callable[[Settings], dict[str, object]], Callable[[Path, Settings], Tokenizer]]
] = {
    "marian": (marian_model, marian_tokenizer),
    "m2m_100": (m2m_model, m2m_tokenizer),
}
"""Functions that read the `[model]` section and the tokeniser, by model_type of config.json."""


@dataclass(frozen=True)
class Imported:
    """An imported model, and notes on settings that were left out."""

    model: Model
    notes: tuple[str, ...] = ()


def import_folder(
    folder: Path, *, source_language: str | None = None, target_language: str | None = None
) -> Imported:
    """Imports a folder that was published for transformers; raises UserError if that is not possible.

    source_language, target_language: default languages of a model of many languages.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder.")
    settings = Settings(folder / "config.json")
    kind = settings.values.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise Unsupported(
            f"{folder}: a model of type {kind!r}; types that can be imported: {', '.join(ARCHITECTURES)}."
        )
    read_model, read_tokenizer = ARCHITECTURES[kind]
    config = build(TransformerConfig, read_model(settings), where=str(settings.path))
    tokenizer = between(read_tokenizer(folder, settings), source_language, target_language)
    decoding, notes = decoding_settings(folder, settings)
    _check_tokens(decoding, tokenizer, settings)
    network = _network(config, tokenizer, folder)
    model = Model(network, config, tokenizer, decoding, _provenance(folder, kind))
    return Imported(model, tuple(notes))


def _network(config: TransformerConfig, tokenizer: Tokenizer, folder: Path) -> Transformer:
    """The network with the folder's weights, whose sizes are checked before memory is allocated."""
    [file, *_] = weight_files(folder)
    weights, vocabulary = read_weights(folder), vocabulary_of(tokenizer)
    layers = config.encoder_layers + config.decoder_layers
    if layers > len(weights):  # even on the meta device, a model of that size would take long to build
        raise DamagedFile(
            f"{folder / 'config.json'}: {layers:,} layers, but {file} holds {len(weights):,} tensors."
        )
    try:
        with torch.device("meta"):
            expected = Transformer(config, vocabulary)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise DamagedFile(f"{folder / 'config.json'}: {first_line(error)}.") from error
    load_published(expected, weights, file=file)
    network = Transformer(config, vocabulary)
    load_published(network, weights, file=file)
    return network.eval()


def _check_tokens(decoding: dict[str, Any], tokenizer: Tokenizer, settings: Settings) -> None:
    size = tokenizer.target_vocab_size
    named = [("pad_token_id", tokenizer.pad), ("decoder_start_token_id", tokenizer.start)]
    named += [("bad_words_ids", token) for token in decoding.get("banned", ())]
    for name, token in named:
        if token >= size:
            raise DamagedFile(
                f"{settings.path}: {name} {token} is not below {size}, the size of the vocabulary."
            )


def _provenance(folder: Path, kind: str) -> dict[str, Any]:
    """The files that the model was imported from, by name and hash, and the versions used."""
    read = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".spm", ".model")]
    return {
        "imported": kind,
        "files": {path.name: file_hash(path) for path in [*read, *weight_files(folder)]},
        "versions": {
            "saccade": own_version(),
            "sentencepiece": version("sentencepiece"),
            "python": platform.python_version(),
        },
    }
