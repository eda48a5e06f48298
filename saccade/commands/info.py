"""saccade info: what a model folder says of itself."""

import json
from collections.abc import Iterator
from typing import Any

import typer

from saccade.commands.options import Json, Model


def info(model: Model, *, as_json: Json = False) -> None:
    """Show what a model is and how it was trained.

    Prints the kind of model, parameters, precision, vocabulary, languages, training data and length, scores
    on the validation text, and the decoding settings that are stored with the model. Weights are not loaded.

    \b
    Examples:
      saccade info runs/en-de
      saccade info runs/en-de --json
    """
    from saccade.interop.exported import is_exported, read_exported
    from saccade.model_folder.description import common, describe

    if is_exported(model):
        written = read_exported(model)
        facts = {"folder": str(model), "exported": written["target"], **common(model, written)}
    else:
        facts = describe(model)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, text in _lines(facts):
        typer.echo(f"{name + ':':<12} {text}")


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "folder", facts["folder"]
    if "exported" in facts:
        yield "exported", f"for {facts['exported']}"
    else:
        yield "model", f"{facts['kind']}, {facts['parameters']:,} parameters, {facts['precision']}"
        yield "format", str(facts["format"])
    of_pieces = _of_pieces(facts)
    vocabulary = facts["vocabulary"]
    source, target = vocabulary["source_size"], vocabulary["target_size"]
    if of_pieces:
        shared = "shared" if vocabulary["shared"] else "separate"
        yield "vocabulary", f"{source:,} source and {target:,} target pieces, {shared}"
    else:  # words, numbers at each position, or values of fields; labels, characters or positions
        yield "sizes", f"source {source:,}, target {target:,}"
    if languages := _languages(facts["languages"]):
        yield "languages", languages
    provenance = facts["provenance"]
    if "step" in provenance:
        trained = f"{provenance['step']:,} updates, {provenance['target_tokens']:,} target tokens"
        yield "training", trained
    for unit in ("pairs", "tokens"):
        if unit in provenance:
            what = unit if of_pieces else "examples"
            yield "text", f"{provenance[unit]:,} {what} of {', '.join(provenance.get('data', {}))}"
    if "imported" in provenance:
        yield "imported", f"{provenance['imported']}"
    if facts["scores"]:
        yield "scores", _listed({name: f"{float(value):.4g}" for name, value in facts["scores"].items()})
    yield "decoding", _listed(facts["decoding"]) or "Saccade's defaults"
    if versions := provenance.get("versions"):
        yield "made with", _listed(versions)


def _of_pieces(facts: dict[str, Any]) -> bool:
    """Whether what a model reads and writes are pieces of text."""
    from saccade.models import KINDS
    from saccade.models.families import LanguageModel, MaskedLanguageModel, TranslationModel

    families = (TranslationModel, LanguageModel, MaskedLanguageModel)
    return "kind" not in facts or issubclass(KINDS[facts["kind"]].family, families)


def _languages(languages: dict[str, Any]) -> str:
    sides = " to ".join(languages.get(side, "?") for side in ("source", "target"))
    known = f"{len(languages['known'])} known" if "known" in languages else ""
    return ", ".join(filter(None, [known, "" if sides == "? to ?" else sides]))


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
