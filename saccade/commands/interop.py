"""saccade import and saccade export: published models in, models out to other engines."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from saccade.commands.hints import FIRST_TRIES
from saccade.commands.options import Languages, Model, choice
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.interop.exported import Target
    from saccade.interop.importing import Imported
    from saccade.quantisation import Precision

Out = Annotated[Path, option("DIR", "Folder to write; it must be empty or not exist yet.")]


def import_(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            show_default=False,
            help="A model published for transformers: OPUS-MT (Marian), M2M-100, NLLB, BERT; or a hub name.",
        ),
    ],
    *,
    out: Out,
    languages: Languages,
) -> None:
    """Convert a published model: OPUS-MT, M2M-100, NLLB or BERT.

    Reads config.json, the weights (model.safetensors, or pytorch_model.bin without running code from it),
    the tokeniser's files and generation_config.json. The result is an ordinary model folder. Nothing is
    written if the folder cannot be imported. A hub name needs network access and the extra `hub`.

    \b
    Examples:
      saccade import opus-mt-en-de --out models/en-de
      saccade import bert-base-chinese --out models/bert-zh
      saccade import nllb-200-distilled-600M --source-language eng_Latn --target-language deu_Latn --out nllb
    """
    from saccade.interop.hub import located
    from saccade.interop.importing import import_folder
    from saccade.model_folder.checkpoint import save_model
    from saccade.storage.folders import require_empty

    require_empty(out)
    imported = import_folder(located(folder), **vars(languages))
    save_model(out, imported.model)
    _tell(imported, out)


def export(
    model: Model,
    *,
    to: Annotated[str, choice("ctranslate2", "onnx", "saccade", show_default=False, help="Format to write.")],
    out: Out,
    sample: Annotated[
        Path | None,
        option("FILE", "Text whose translations are compared.", default="lines made of the model's pieces"),
    ] = None,
    precision: Annotated[
        str, choice("float32", "int8", help="Numeric precision of the weights; int8 is not for onnx.")
    ] = "float32",
    settings: Annotated[Settings, Offer(DecodingConfig)],
    languages: Languages,
) -> None:
    """Write a model for another engine and compare them.

    ctranslate2 writes a folder that CTranslate2 loads (needs the extra `ctranslate2`). onnx writes
    encoder.onnx, and decoder.onnx for one step with a cache, which onnxruntime and others load (needs the
    extra `onnx`). Both folders include the tokeniser, and `saccade translate DIR` runs them. Nothing is
    written if greedy translations differ. saccade writes an ordinary model folder; with --precision int8 it
    is about a quarter of the size.

    int8 changes some translations; the command prints how many stay the same. Transformers with sinusoidal,
    learned or no positions can be exported; non-autoregressive models only to onnx and saccade. Settings
    given with --set become the exported model's defaults.

    \b
    Examples:
      saccade export runs/en-de --to ctranslate2 --out exported
      saccade export runs/en-de --to ctranslate2 --precision int8 --sample test.en --out exported
      saccade export runs/en-de --to onnx --out exported
      saccade export runs/en-de --to saccade --precision int8 --out small
    """
    from saccade.interop.exporting import export_model, store_model
    from saccade.model_folder.checkpoint import load_model
    from saccade.storage.folders import require_empty
    from saccade.text.reading import read_text
    from saccade.text.tokenizer import between
    from saccade.use.translator import Translator

    require_empty(out)
    lines = None if sample is None else read_text(sample)
    if lines == []:
        raise UserError(f"{sample}: empty; a text is needed to compare translations.")
    loaded = load_model(model)
    tokenizer = between(loaded.tokenizer, languages.source_language, languages.target_language)
    if settings["decoding"]:
        Translator.of(loaded).options(**settings["decoding"])  # names a setting that it does not have
    decoding = {**loaded.decoding, **settings["decoding"]}
    changed = replace(loaded, tokenizer=tokenizer, decoding=decoding)
    weights = cast("Precision", precision)
    if to == "saccade":
        checked = store_model(changed, out, precision=weights, lines=lines)
    else:
        checked = export_model(changed, out, target=cast("Target", to), precision=weights, lines=lines)
    for name, same in checked.same.items():
        typer.echo(f"checked: {same} of {checked.lines} lines are the same with {name}")
    typer.echo(f"Exported: {out}")
    typer.echo(f'Try:      echo "your text" | saccade translate {out}')


def _tell(imported: "Imported", out: Path) -> None:
    model = imported.model
    for note in imported.notes:
        typer.echo(f"Note: {note}", err=True)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    facts = f"{parameters:,} parameters, {model.tokenizer.target_vocab_size:,} pieces"
    beam = f", beam {model.decoding['beam']}" if "beam" in model.decoding else ""
    typer.echo(f"{model.provenance['imported']}: {facts}{beam}")
    typer.echo(f"Model: {out}")
    typer.echo(f"Try:   {FIRST_TRIES[model.network.topic].format(model=out)}")
