"""The common part of exported folders: the models they can express, and the files besides the engine's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from saccade.config import Section
from saccade.errors import DamagedFile, NotFound, Unsupported, UserError
from saccade.model_folder.checkpoint import Model, vocabulary_of, write_json
from saccade.model_folder.manifest import check_banned, check_entries, read_vocabulary
from saccade.models import LARGEST, model_config
from saccade.models.interface import Vocabulary
from saccade.models.transformer import Transformer, TransformerConfig
from saccade.nn.embedding import Embedding
from saccade.storage.digests import write_digests
from saccade.storage.folders import replace_folder
from saccade.storage.structured import is_plain, read_object, reason
from saccade.text.lengths import SeenLengths
from saccade.text.tokenizer import Tokenizer, load_tokenizer, save_preprocessor

Target = Literal["ctranslate2", "onnx"]

DESCRIPTION = "export.json"
_ADVICE = "Export the model again."
FEWEST_POSITIONS = 1024
"""Minimum number of positions in an export, because other engines have a fixed table of sinusoids."""

_EXPRESSIBLE = {
    *("kind", "width", "heads", "feed_forward", "encoder_layers", "decoder_layers", "activation", "norm"),
    *("dropout", "attention_dropout", "activation_dropout", "layer_dropout", "positions", "sinusoid_layout"),
    *("max_positions", "scaled_embeddings", "output_bias", "tied_embeddings"),
}
"""Settings of the Transformer that an export supports; the others must have their default values."""
_POSITIONS = ("sinusoidal", "learned", "none")


@dataclass(frozen=True)
class Exported:
    """The contents of an exported folder besides the engine's files.

    config: the section `[model]`, if decoding depends on it. longest: number of positions in the engine's
    table, None if there is no limit. decoding: the model's settings `[decoding]`. seen: the lengths of the
    training text, if they are known.
    """

    vocabulary: Vocabulary
    tokenizer: Tokenizer
    config: Section | None
    longest: int | None
    decoding: dict[str, Any]
    seen: SeenLengths | None = None


def transformer_of(model: Model, *, target: Target) -> Transformer:
    """The network; raises UserError, naming the setting, if the target cannot express it."""
    config = model.config
    if not isinstance(config, TransformerConfig):
        kind = getattr(config, "kind", type(config).__name__)
        raise Unsupported(f"model.kind = {kind}: {target} export supports only transformer.")
    plain = TransformerConfig(width=config.width, heads=config.heads).model_dump()
    for name, value in config.model_dump().items():
        odd = name not in _EXPRESSIBLE and value != plain.get(name)
        if odd or (name == "positions" and value not in _POSITIONS):
            raise Unsupported(f"model.{name} = {value}: {target} export cannot express it.")
    return cast(Transformer, model.network)


def about_transformer(model: Model, *, target: Target) -> dict[str, Any]:
    """A Transformer's entries in export.json: the number of positions in the engine's table."""
    network = transformer_of(model, target=target)
    return {"longest": position_table(network, network.encoder.embedding).size(0)}


def position_table(network: Transformer, embedding: Embedding) -> Tensor:
    """The table (positions, width) that one of the network's embeddings adds to tokens."""
    config, weight = network.config, network.output.weight
    length = config.max_positions
    if config.positions != "learned":
        length = max(FEWEST_POSITIONS, length)
    with torch.no_grad():
        table: Tensor = embedding.positions(weight.new_zeros(1, length, config.width))
    return table[0].float().cpu()


@contextmanager
def exported_folder(out: Path, model: Model, *, target: Target, about: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that appears when it is complete, with the tokeniser and export.json.

    about: entries of export.json that depend on the target.
    """
    with replace_folder(out) as new:
        description = {
            "target": target,
            "tokenizer": save_preprocessor(model.tokenizer, new),
            **about,
            "vocabulary": asdict(model.network.vocabulary),
            "decoding": model.decoding,
            "provenance": model.provenance,
        }
        write_json(new / DESCRIPTION, description)
        yield new
        write_digests(new, [path.name for path in new.iterdir()])


def is_exported(folder: Path) -> bool:
    """Whether `saccade export` made this folder."""
    return is_plain(folder / DESCRIPTION)


def exported_target(folder: Path) -> Target:
    """The target that a folder was exported for; raises UserError if it is damaged or was not exported."""
    target: Target = read_exported(folder)["target"]
    return target


def load_exported(folder: Path, *, target: Target) -> Exported:
    """Reads an exported folder; raises UserError if it is damaged or was exported for another target."""
    if exported_target(folder) != target:
        raise Unsupported(f"{folder}: exported for {exported_target(folder)}, not for {target}.")
    description = _description(folder)
    try:
        config = model_config(description["model"]) if "model" in description else None
        vocabulary = read_vocabulary(description["vocabulary"])
        check_banned(description["decoding"], vocabulary)
        longest = description.get("longest")
        if longest is not None and (type(longest) is not int or not 0 < longest <= LARGEST):
            raise ValueError("longest is not a number of positions")
    except (ValueError, TypeError, AttributeError, UserError) as error:
        raise _damaged(folder, error) from error
    tokenizer = load_tokenizer(folder, digests=description["tokenizer"])
    if vocabulary != vocabulary_of(tokenizer):
        raise _damaged(folder, ValueError("its tokeniser is not the one that the model was trained with"))
    provenance = description.get("provenance")
    seen = SeenLengths.of(provenance if isinstance(provenance, dict) else {})
    return Exported(vocabulary, tokenizer, config, longest, description["decoding"], seen)


def read_exported(folder: Path) -> dict[str, Any]:
    """The content of export.json; raises UserError if it is damaged or the folder was not exported."""
    if not is_exported(folder):
        raise NotFound(f"{folder}: not an exported folder.", topic="no-export")
    return _description(folder)


def _description(folder: Path) -> dict[str, Any]:
    description = read_object(folder / DESCRIPTION, advice=_ADVICE)
    try:
        target = description.get("target")
        if target not in get_args(Target):
            raise ValueError(f"unknown target {str(target)[:40]!r}")
        description.setdefault("tokenizer", {})
        check_entries(description)
        read_vocabulary(description["vocabulary"])
    except ValueError as error:
        raise _damaged(folder, error) from error
    return description


def _damaged(folder: Path, error: Exception) -> UserError:
    return DamagedFile(f"{folder / DESCRIPTION}: damaged: {reason(error)}. {_ADVICE}")
