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
    vocabulary = facts["vocabulary"]
    sizes = f"{vocabulary['source_size']:,} source and {vocabulary['target_size']:,} target pieces"
    yield "vocabulary", f"{sizes}, {'shared' if vocabulary['shared'] else 'separate'}"
    if languages := _languages(facts["languages"]):
        yield "languages", languages
    provenance = facts["provenance"]
    if "step" in provenance:
        trained = f"{provenance['step']:,} updates, {provenance['target_tokens']:,} target tokens"
        yield "training", trained
    for unit in ("pairs", "tokens"):
        if unit in provenance:
            yield "text", f"{provenance[unit]:,} {unit} of {', '.join(provenance.get('data', {}))}"
    if "imported" in provenance:
        yield "imported", f"{provenance['imported']}"
    if facts["scores"]:
        yield "scores", _listed({name: f"{float(value):.4g}" for name, value in facts["scores"].items()})
    yield "decoding", _listed(facts["decoding"]) or "Saccade's defaults"
    if versions := provenance.get("versions"):
        yield "made with", _listed(versions)


def _languages(languages: dict[str, Any]) -> str:
    sides = " to ".join(languages.get(side, "?") for side in ("source", "target"))
    known = f"{len(languages['known'])} known" if "known" in languages else ""
    return ", ".join(filter(None, [known, "" if sides == "? to ?" else sides]))


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
