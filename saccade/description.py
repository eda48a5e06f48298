"""The description of a model folder, read without its weights."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.checkpoint import find_model, read_description
from saccade.folders import read_whole
from saccade.models import build_model, model_config
from saccade.models.interface import Vocabulary
from saccade.text.settings import read_settings


def describe(folder: Path) -> dict[str, Any]:
    """The facts of a model folder, or of a run's best model, as plain values for JSON.

    languages: "source" and "target" if they are recorded, and "known" for a model of many languages. Raises
    UserError for a folder that is missing, damaged, in a foreign format, or written by a newer Saccade.
    """
    return read_whole(partial(find_model, folder), _describe)


def _describe(found: Path) -> dict[str, Any]:
    written = read_description(found)
    config = model_config(written["model"])
    with torch.device("meta"):
        network: Any = build_model(config, Vocabulary(**written["vocabulary"]))
    parameters = sum(parameter.numel() for parameter in nn.Module.parameters(network))
    return {
        "folder": str(found),
        "format": written["format"],
        "kind": config.model_dump()["kind"],
        "parameters": parameters,
        "precision": written.get("precision", "float32"),
        **common(found, written),
        "model": written["model"],
    }


def common(folder: Path, written: dict[str, Any]) -> dict[str, Any]:
    """The facts that exported folders contain as well."""
    provenance = dict(written["provenance"])
    languages = {**provenance.pop("languages", {}), **_many(folder)}
    scores = provenance.pop("validation", {})
    return {
        "vocabulary": written["vocabulary"],
        "languages": languages,
        "scores": scores,
        "decoding": written["decoding"],
        "provenance": provenance,
    }


def _many(folder: Path) -> dict[str, Any]:
    """The languages of a model of many languages: those it knows, and its default source and target."""
    config = read_settings(folder).get("config")
    if not isinstance(config, dict) or "languages" not in config:
        return {}
    chosen = {side: config.get(f"{side}_language") for side in ("source", "target")}
    return {
        **{side: name for side, name in chosen.items() if name is not None},
        "known": sorted(config["languages"]),
    }
