"""The description of a model folder, read without its weights."""

from functools import partial
from pathlib import Path
from typing import Any

from saccade.errors import UserError
from saccade.model_folder.checkpoint import find_model
from saccade.model_folder.manifest import DESCRIPTION, damaged, read_description, read_vocabulary
from saccade.models import model_config
from saccade.models.outline import outline, parameters_in
from saccade.storage.folders import read_whole
from saccade.text.settings import read_settings


def describe(folder: Path) -> dict[str, Any]:
    """The facts of a model folder, or of a run's best model, as plain values for JSON.

    languages: "source" and "target" if they are recorded, and "known" for a model of many languages. Raises
    UserError for a folder that is missing, damaged, in a foreign format, or written by a newer Saccade.
    """
    return read_whole(partial(find_model, folder), _describe)


def _describe(found: Path) -> dict[str, Any]:
    written = read_description(found)
    try:
        config = model_config(written["model"])
        network = outline(config, read_vocabulary(written["vocabulary"]))
    except (UserError, ValueError) as error:
        raise damaged(found / DESCRIPTION, str(error).rstrip(".")) from error
    return {
        "folder": str(found),
        "format": written["format"],
        "kind": config.model_dump()["kind"],
        "parameters": parameters_in(network),
        "precision": written["precision"],
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
    known = config.get("languages") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(known, dict):
        return {}
    chosen = {side: config.get(f"{side}_language") for side in ("source", "target")}
    return {**{side: name for side, name in chosen.items() if isinstance(name, str)}, "known": sorted(known)}
