"""Training that goes on from another model: what comes with it, and its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.checkpoint import Model, find_model, load_weights, read_description, read_weights
from saccade.errors import ConfigError
from saccade.models import model_config
from saccade.nn.reading import OVERRIDABLE, LanguageModelConfig
from saccade.text.corpus import file_hash
from saccade.text.tokenizer import Tokenizer, load_tokenizer


def settings_of(folder: Path, tables: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's tables with the model's own settings below them.

    Raises UserError where they ask for what the model's weights and vocabulary settle: of [model] only
    dropout may differ, and what a language model's weights do not depend on.
    """
    description = read_description(find_model(folder))
    settled = f"comes from training.init_from = {folder}; leave it out."
    require_no_tokenizer(tables, folder, key="training.init_from")
    own = description["model"]
    for name, value in tables.get("model", {}).items():
        free = name.endswith("dropout") or name in OVERRIDABLE
        if not free and value != own.get(name):
            known = f", which is {own[name]}," if name in own else ""
            raise ConfigError(f"model.{name} = {value}: this{known} {settled}")
    below = {name: {**description[name], **tables.get(name, {})} for name in ("model", "decoding")}
    languages = description["provenance"].get("languages", {})
    if languages:
        named = {f"{side}_language": language for side, language in languages.items()}
        below["data"] = {**named, **tables.get("data", {})}
    return {**tables, **below}


def require_no_tokenizer(tables: Mapping[str, Any], folder: Path, *, key: str) -> None:
    """UserError where a configuration's tables have a section [tokenizer], which comes from `folder`."""
    if tables.get("tokenizer"):
        raise ConfigError(f"[tokenizer]: the vocabulary comes from {key} = {folder}; leave it out.")


def require_teacher(folder: Path) -> None:
    """UserError where `training.teacher` is a model that does not translate."""
    if isinstance(model_config(read_description(find_model(folder))["model"]), LanguageModelConfig):
        raise ConfigError(f"training.teacher = {folder}: a language model; give one that translates.")


def tokenizer_of(folder: Path) -> Tokenizer:
    """The model's tokeniser."""
    found = find_model(folder)
    return load_tokenizer(found, digests=read_description(found)["tokenizer"])


def take_weights(model: Model, folder: Path) -> None:
    """Copy another model's weights in."""
    found = find_model(folder)
    load_weights(model.module, read_weights(found), folder=found)


def origin(folder: Path, last: Path, *, key: str) -> str:
    """SHA-256 of the weights of `folder`; a resumed run has it in its `last` checkpoint, under `key`."""
    if (last / "model.json").is_file():
        return str(read_description(last)["provenance"].get(key, ""))
    return file_hash(find_model(folder) / "model.safetensors")
