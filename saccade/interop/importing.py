"""Importing a published model folder as a Saccade model."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from saccade.config import build
from saccade.distribution import version as own_version
from saccade.errors import DamagedFile, Unsupported, UserError
from saccade.interop.bert import import_bert
from saccade.interop.generation import decoding_settings
from saccade.interop.m2m import m2m_model, m2m_tokenizer
from saccade.interop.marian import marian_model, marian_tokenizer
from saccade.interop.published import Settings, read_weights, weight_files
from saccade.interop.recognised import require_recognised
from saccade.interop.weights import check_unused, load_published
from saccade.machine import named_shortage, require_memory
from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models.outline import outline, parameters_in
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.storage.foreign import require_published
from saccade.storage.structured import reason
from saccade.text.corpus import file_hash
from saccade.text.tokenizer import Tokenizer, between


@dataclass(frozen=True)
class Architecture:
    """The record of a type of models: its class in transformers, and the functions that read it.

    tokenizers: the classes of its tokenisers. fixed: values that settings of config.json must have, if they
    are present. model, tokenizer: functions that read the section `[model]` and the tokeniser.
    """

    name: str
    tokenizers: tuple[str, ...]
    fixed: Mapping[str, Any]
    model: Callable[[Settings], dict[str, object]]
    tokenizer: Callable[[Path, Settings], Tokenizer]


ARCHITECTURES: dict[str, Architecture] = {
    "marian": Architecture(
        "MarianMTModel",
        ("MarianTokenizer",),
        {"normalize_before": False, "add_final_layer_norm": False},
        marian_model,
        marian_tokenizer,
    ),
    "m2m_100": Architecture(
        "M2M100ForConditionalGeneration",
        ("M2M100Tokenizer", "NllbTokenizer", "NllbTokenizerFast"),
        {"normalize_before": True, "add_final_layer_norm": True},
        m2m_model,
        m2m_tokenizer,
    ),
}
"""The records of encoder-decoders by `model_type` of config.json."""
BERT = "bert"
"""The `model_type` of BERT, which is no encoder-decoder."""


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
    require_published(folder)
    settings = Settings(folder / "config.json")
    kind = settings.values.get("model_type")
    if not isinstance(kind, str) or kind not in {BERT, *ARCHITECTURES}:
        known = ", ".join([*ARCHITECTURES, BERT])
        raise Unsupported(
            f"{folder}: a model of type {kind!r}; types that can be imported: {known}.{_classes(settings)}"
        )
    if kind == BERT:
        bert, pieces, about = import_bert(folder, settings)
        return Imported(Model(bert, bert.config, pieces, {}, _provenance(folder, kind)), tuple(about))
    of = ARCHITECTURES[kind]
    require_recognised(folder, settings, architecture=of.name, tokenizers=of.tokenizers, fixed=of.fixed)
    config = build(TransformerConfig, of.model(settings), where=str(settings.path))
    tokenizer = between(of.tokenizer(folder, settings), source_language, target_language)
    decoding, notes = decoding_settings(folder, settings)
    _check_banned(decoding, tokenizer, settings)
    network = _network(config, tokenizer, folder)
    model = Model(network, config, tokenizer, decoding, _provenance(folder, kind))
    return Imported(model, tuple(notes))


def _classes(settings: Settings) -> str:
    classes = settings.values.get("architectures")
    names = ", ".join(map(str, classes))[:80] if isinstance(classes, list) else ""
    return f" Its class in transformers is {names}." if names else ""


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
        expected = outline(config, vocabulary)
    except UserError as error:
        raise DamagedFile(f"{folder / 'config.json'}: {reason(error)}.") from error
    load_published(cast(Transformer, expected), weights, file=file)
    check_unused(config, weights, file=file)
    what = f"{folder}: the model of {parameters_in(expected):,} parameters"
    require_memory(4 * parameters_in(expected), what)
    with named_shortage(what):
        network = Transformer(config, vocabulary)
        load_published(network, weights, file=file)
    return network.eval()


def _check_banned(decoding: dict[str, Any], tokenizer: Tokenizer, settings: Settings) -> None:
    size = tokenizer.target_vocab_size
    for token in decoding.get("banned", ()):
        if token >= size:
            raise DamagedFile(
                f"{settings.path}: bad_words_ids {token} is not below {size}, the size of the vocabulary."
            )


def _provenance(folder: Path, kind: str) -> dict[str, Any]:
    """The files that the model was imported from, by name and hash, and the versions used."""
    read = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".spm", ".model", ".txt")]
    return {
        "imported": kind,
        "files": {path.name: file_hash(path) for path in [*read, *weight_files(folder)]},
        "versions": {
            "saccade": own_version(),
            "sentencepiece": version("sentencepiece"),
            "python": platform.python_version(),
        },
    }
