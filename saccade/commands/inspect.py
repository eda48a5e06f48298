"""saccade attention: what a model looks at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from saccade.commands.options import Model, Use, load_translator
from saccade.commands.output import check_outputs
from saccade.commands.parameters import Offer, Settings, option
from saccade.config import check_sections
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, InputError, NotFound
from saccade.nn.reading import DistanceConfig

if TYPE_CHECKING:
    from saccade.inspection.record import Inspection
    from saccade.models.families import Network
    from saccade.use.generator import TextGenerator
    from saccade.use.predictor import Predictor
    from saccade.use.translator import Translator

_NO_TARGET = "this model reads one text and has no target; leave the target out."
_NAME = 40  # characters of a text that a record is called by


def attention(
    model: Model,
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            show_default=False,
            help="The sentence to translate, or several to compare; for a model that reads, a text, or the "
            "name of a picture, sound or table.",
        ),
    ],
    *,
    target: Annotated[
        str | None,
        option("TEXT", "The translation to show the attention for.", default="the model's translation"),
    ] = None,
    compare: Annotated[
        Path | None,
        option("MODEL", "A second model, which is shown beside the first with the same translation."),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Show all checkpoints of the run MODEL side by side.")
    ] = False,
    out: Annotated[
        Path,
        option(
            "FILE",
            "The page (.html), its data (.json, .npz), or a picture of the cross-attention, over what was "
            "read if that is a picture or a sound (.png, .svg, .pdf; needs the extra `plot`).",
            "--out",
            "-o",
        ),
    ] = Path("attention.html"),
    settings: Annotated[
        Settings,
        Offer(DecodingConfig, "beam", "max_source_length"),
        Offer(DistanceConfig, table="model"),
    ],
    use: Use,
) -> None:
    """Show what a model attends to, and how it searched.

    Writes one page that opens in any browser, without a network: attention as lines and matrices, all heads
    at a glance, the beam search step by step, and the attribution of each output token to the source by
    gradient and by erasure. See docs/explorer.md. Language models, and models that label, show how they read
    the text.

    \b
    Examples:
      saccade attention runs/en-de "A dog runs." --out dog.html
      saccade attention runs/en-de "A dog runs." "A dog sleeps." --out dogs.html
      saccade attention runs/en-de "A dog runs." --compare runs/other --out models.html
      saccade attention runs/en-de "A dog runs." --out dog.png
      saccade attention runs/lines line.png --out where.png
    """
    from saccade.inspection import picture, saving

    check_outputs(out)
    several = compare is not None or checkpoints or len(texts) > 1
    if out.suffix.lower() in picture.SUFFIXES:
        picture.check_picture(out)
        if several:
            raise ConfigError(
                f"{out}: a picture shows one sentence and one model; write a .html page instead."
            )
        if _translates(model):
            _draw(_translator(model, settings, use), texts[0], target, settings, out)
        else:
            _draw_reading(_opened(model, settings, use), texts[0], target, out)
    else:
        saving.check(out)
        folders = _folders(model, compare, checkpoints=checkpoints)
        records = _records(folders, texts, target, settings, use)
        saving.save(records, out)
    typer.echo(f"{out}: written", err=True)


def _draw(translator: "Translator", text: str, target: str | None, settings: Settings, out: Path) -> None:
    from saccade.inspection.picture import draw_attention

    if not text.strip():
        raise InputError("the text is empty: there is nothing to show.")
    found: str | None = None
    if target is None:
        [translation] = translator.translate([text], **settings["decoding"])
        target = found = translation.text
        if translation.problem is not None:
            typer.echo(translation.problem, err=True)
    else:
        for _, problem in translator.checks().unknown([text], [target]):
            typer.echo(f"{problem}, read as unknown", err=True)
    maps = translator.attention(text, target)
    source_pieces, target_pieces = translator.pieces(text, target)
    for note in draw_attention(maps, source_pieces, target_pieces, out=out):
        typer.echo(note, err=True)
    if found is not None:
        typer.echo(found)


def _draw_reading(
    model: "Translator | TextGenerator | Predictor", text: str, target: str | None, out: Path
) -> None:
    from saccade.use.predictor import Predictor

    if not isinstance(model, Predictor):
        raise ConfigError(f"{out}: only a translation can be drawn as a picture; write a .html page.")
    if target is not None:
        raise InputError(_NO_TARGET)
    for note in model.draw(text, out):
        typer.echo(note, err=True)


def _folders(model: Path, compare: Path | None, *, checkpoints: bool) -> dict[str, Path]:
    """The model folders to show, by the names that their records get; the first one leads."""
    if not checkpoints:
        folders = {_called(model): model}
        if compare is not None:
            folders[_called(compare) if _called(compare) not in folders else str(compare)] = compare
        return folders
    if compare is not None:
        raise ConfigError("the checkpoints of a run are shown by themselves; leave the second model out.")
    from saccade.model_folder.checkpoint import find_model
    from saccade.model_folder.manifest import read_description

    best = find_model(model)
    found = sorted(path for path in (model / "checkpoints").glob("*") if (path / "model.json").is_file())
    if not found:
        raise NotFound(f"{model}: not a run folder with checkpoints. Give the folder that training wrote.")
    steps = {path: int(read_description(path)["provenance"].get("step", 0)) for path in found}
    named = {f"step {steps[path]:,} ({path.name})": path for path in sorted(found, key=steps.__getitem__)}
    return {name: path for name, path in named.items() if path == best} | named


def _called(folder: Path) -> str:
    """The name of a model on the page: that of its run or folder, without the path to it."""
    place = folder.resolve()
    return f"{place.parent.parent.name}/{place.name}" if place.parent.name == "checkpoints" else place.name


def _records(
    folders: dict[str, Path], texts: Sequence[str], target: str | None, settings: Settings, use: Use
) -> "list[Inspection]":
    """A record for each model and text. Several models share a target: the translation by the first one."""
    from saccade.use.translator import Translator

    records: list[Inspection] = []
    targets: list[str | None] = [target] * len(texts)
    for place, (name, folder) in enumerate(folders.items()):
        model = _opened(folder, settings, use)
        if place == 0 and len(folders) > 1 and target is None and isinstance(model, Translator):
            # As text, so that all models read the same pieces of it.
            targets = [one.text or None for one in model.translate(texts, **settings["decoding"])]
        for number, text in enumerate(texts):
            title = _title(name, text, folders, texts)
            record = _inspected(model, text, targets[number], settings, name=title)
            if place == 0 and target is None and isinstance(model, Translator):
                typer.echo(record.output)
            records.append(record)
    return records


def _title(name: str, text: str, folders: dict[str, Path], texts: Sequence[str]) -> str:
    short = text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
    if len(texts) == 1:
        return name
    return short if len(folders) == 1 else f"{name}: {short}"


def _opened(folder: Path, settings: Settings, use: Use) -> "Translator | TextGenerator | Predictor":
    from saccade.models.families import LanguageModel
    from saccade.use.generator import TextGenerator
    from saccade.use.loading import load

    if _translates(folder):
        return _translator(folder, settings, use)
    use.set_up()
    if not issubclass(_family(folder), LanguageModel):
        if given := [f"{table}.{name}" for table, values in settings.items() for name in values]:
            raise ConfigError(f"{', '.join(given)}: this model has no settings to change; leave it out.")
        return cast("Predictor", load(folder, device=use.device))
    generator = TextGenerator.load(folder, device=use.device, **settings["model"])
    generator.options(**settings["decoding"])
    return generator


def _translator(folder: Path, settings: Settings, use: Use) -> "Translator":
    """A translator, whose model has no settings to change."""
    check_sections({name: table for name, table in settings.items() if table}, ["decoding"])
    return load_translator(folder, use, settings)


def _translates(folder: Path) -> bool:
    """Whether a folder holds a model that translates, and does not read one text."""
    from saccade.interop.exported import is_exported
    from saccade.models.families import TranslationModel

    return is_exported(folder) or issubclass(_family(folder), TranslationModel)


def _family(folder: Path) -> "type[Network]":
    from saccade.model_folder.checkpoint import find_model
    from saccade.model_folder.manifest import read_description
    from saccade.models import kind_of, model_config

    return kind_of(model_config(read_description(find_model(folder))["model"])).family


def _inspected(
    model: "Translator | TextGenerator | Predictor",
    text: str,
    target: str | None,
    settings: Settings,
    *,
    name: str,
) -> "Inspection":
    from saccade.use.translator import Translator

    if isinstance(model, Translator):
        return model.inspect(text, target, name=name, **settings["decoding"])
    if target is not None:
        raise InputError(_NO_TARGET)
    return model.inspect(text, name=name)
