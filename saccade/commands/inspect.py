"""saccade attention: what a model looks at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saccade.commands.options import Model, Use, load_translator, tell_note
from saccade.commands.output import check_outputs
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, InputError, NotFound
from saccade.nn.reading import DistanceConfig

if TYPE_CHECKING:
    from saccade.inspection.record import Inspection
    from saccade.use.loaded import LoadedModel
    from saccade.use.translator import Translator

_NAME = 40  # characters of a text that a record is called by

Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="TEXT...",
        show_default=False,
        help="The sentence to translate, or several to compare; for a model that reads, a text, or the name "
        "of a picture, sound or table.",
    ),
]
Target = Annotated[
    str | None,
    option("TEXT", "The translation to show the attention for.", default="the model's translation"),
]
Compared = Annotated[
    Path | None,
    option("MODEL", "A second model, which is shown beside the first with the same translation."),
]
Checkpoints = Annotated[
    bool, typer.Option("--checkpoints", help="Show all checkpoints of the run MODEL side by side.")
]
Out = Annotated[
    Path,
    option(
        "FILE",
        "The page (.html), its data (.json, .npz), or a picture of the cross-attention, over what was read "
        "if that is a picture or a sound (.png, .svg, .pdf; needs the extra `plot`).",
        "--out",
        "-o",
    ),
]


def attention(
    model: Model,
    texts: Texts,
    *,
    target: Target = None,
    compare: Compared = None,
    checkpoints: Checkpoints = False,
    out: Out = Path("attention.html"),
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
    from saccade.use.translator import Translator

    check_outputs(out)
    several = compare is not None or checkpoints or len(texts) > 1
    if out.suffix.lower() in picture.SUFFIXES:
        picture.check_picture(out)
        if several:
            raise ConfigError(
                f"{out}: a picture shows one sentence and one model; write a .html page instead."
            )
        opened = _opened(model, settings, use)
        if isinstance(opened, Translator):
            _draw(opened, texts[0], target, out)
        else:
            _draw_reading(opened, texts[0], target, out)
    else:
        saving.check(out)
        folders = _folders(model, compare, checkpoints=checkpoints)
        records = _records(folders, texts, target, settings, use)
        saving.save(records, out)
    typer.echo(f"{out}: written", err=True)


def _draw(translator: "Translator", text: str, target: str | None, out: Path) -> None:
    from saccade.inspection.picture import draw_attention

    if not text.strip():
        raise InputError("the text is empty: there is nothing to show.")
    found: str | None = None
    if target is None:
        [translation] = translator.translate([text])
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


def _draw_reading(model: "LoadedModel", text: str, target: str | None, out: Path) -> None:
    from saccade.use.loaded import require_no_target
    from saccade.use.predictor import Predictor

    if not isinstance(model, Predictor):
        raise ConfigError(f"{out}: only a translation can be drawn as a picture; write a .html page.")
    require_no_target(target)
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
    """A record for each model and text.

    Several models share a target, the translation by the first one, if their attention depends on it.
    """
    records: list[Inspection] = []
    targets: list[str | None] = [target] * len(texts)
    for place, (name, folder) in enumerate(folders.items()):
        model = _opened(folder, settings, use)
        leads = place == 0 and target is None
        if leads and len(folders) > 1:
            # As text, so that all models read the same pieces of it.
            targets = [model.common_target(text) for text in texts]
        for text, own in zip(texts, targets, strict=True):
            record = model.inspect(text, own, name=_title(name, text, folders, texts))
            if leads and model.answers:
                typer.echo(record.output)
            records.append(record)
    return records


def _title(name: str, text: str, folders: dict[str, Path], texts: Sequence[str]) -> str:
    short = text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
    if len(texts) == 1:
        return name
    return short if len(folders) == 1 else f"{name}: {short}"


def _opened(folder: Path, settings: Settings, use: Use) -> "LoadedModel":
    """The model with the settings and languages that the command line gives it."""
    from saccade.interop.exported import is_exported
    from saccade.use.loading import load

    if is_exported(folder):
        return load_translator(folder, use, {"decoding": {}}).with_settings(settings)
    use.set_up()
    model = load(folder, device=use.device).between(use.source_language, use.target_language)
    tell_note(model)
    return model.with_settings(settings)
