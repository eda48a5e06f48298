"""saccade import and saccade export: published models in, models out to other engines."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from saccade.commands.options import Model, SourceLanguage, TargetLanguage
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.interop.importing import Imported


def import_(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            show_default=False,
            help="A model as published for transformers: OPUS-MT (Marian), M2M-100 or NLLB; or its hub name.",
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="MODEL", show_default=False, help="Folder to write; it must not exist or be empty."
        ),
    ],
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
) -> None:
    """Make a model of a published one: OPUS-MT, M2M-100, NLLB.

    Reads config.json, the weights (model.safetensors, or pytorch_model.bin without running anything in it),
    the tokeniser's files and generation_config.json. The result is a model as any other. Nothing is written
    when the folder can't be imported. A hub name needs network access and saccade[hub].

    \b
    Examples:
      saccade import opus-mt-en-de --out models/en-de
      saccade import nllb-200-distilled-600M --source-language eng_Latn --target-language deu_Latn --out nllb
    """
    from saccade.checkpoint import save_model
    from saccade.folders import require_empty
    from saccade.interop.hub import located
    from saccade.interop.importing import import_folder

    require_empty(out)
    imported = import_folder(
        located(folder), source_language=source_language, target_language=target_language
    )
    save_model(out, imported.model)
    _tell(imported, out)


def export(
    model: Model,
    *,
    to: Annotated[
        str, typer.Option(metavar="ctranslate2|onnx|saccade", show_default=False, help="What to write for.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", show_default=False, help="Folder to write; it must not exist or be empty."
        ),
    ],
    sample: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="lines made of the model's pieces",
            help="Text whose translations are compared.",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="float32|int8", help="Of the weights; int8 is not for onnx."),
    ] = "float32",
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
) -> None:
    """Write a model for another engine and compare their translations.

    ctranslate2: a folder that CTranslate2 loads (needs saccade[ctranslate2]). onnx: encoder.onnx and
    decoder.onnx, one cached step, for onnxruntime and others (needs saccade[onnx]). Both hold the tokeniser
    too, and `saccade translate DIR` runs them. Nothing is written when greedy translations differ. saccade:
    a model folder like any other, for all that models can do; the one to deploy with --precision int8.
    int8 makes about a quarter of the size; it changes some translations, and it is printed how many stay the
    same. Transformers with sinusoidal, learned or no positions can be exported, and non-autoregressive
    models, but not to ctranslate2, which knows no such thing.

    \b
    Examples:
      saccade export runs/en-de --to ctranslate2 --out exported
      saccade export runs/en-de --to ctranslate2 --precision int8 --sample test.en --out exported
      saccade export runs/en-de --to onnx --out exported
      saccade export runs/en-de --to saccade --precision int8 --out small
    """
    from saccade.checkpoint import load_model
    from saccade.folders import require_empty
    from saccade.interop.exported import Target
    from saccade.interop.exporting import export_model, store_model
    from saccade.quantisation import Precision
    from saccade.text.corpus import read_text
    from saccade.text.tokenizer import between

    targets = (*get_args(Target), "saccade")
    for option, value, allowed in (("--to", to, targets), ("--precision", precision, get_args(Precision))):
        if value not in allowed:
            raise UserError(f"{option} {value}: allowed are {', '.join(allowed)}.")
    require_empty(out)
    lines = None if sample is None else read_text(sample)
    if lines == []:
        raise UserError(f"{sample}: holds no line to compare translations of.")
    loaded = load_model(model)
    spoken = replace(loaded, tokenizer=between(loaded.tokenizer, source_language, target_language))
    weights = cast("Precision", precision)
    if to == "saccade":
        checked = store_model(spoken, out, precision=weights, lines=lines)
    else:
        checked = export_model(spoken, out, target=cast("Target", to), precision=weights, lines=lines)
    for settings, same in checked.same.items():
        typer.echo(f"checked: {same} of {checked.lines} lines the same with {settings}")
    typer.echo(f"Exported: {out}")
    typer.echo(f'Try:      echo "your text" | saccade translate {out}')


def _tell(imported: "Imported", out: Path) -> None:
    model = imported.model
    for note in imported.notes:
        typer.echo(f"Note: {note}", err=True)
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    beam = model.decoding.get("beam", 4)
    typer.echo(
        f"{model.provenance['imported']}: {parameters:,} parameters, "
        f"{model.tokenizer.target_vocab_size:,} pieces, beam {beam}"
    )
    typer.echo(f"Model: {out}")
    typer.echo(f'Try:   echo "your text" | saccade translate {out}')
