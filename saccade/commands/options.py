"""Options that several commands share, and the translator they ask for."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.nonautoregressive.options import (
    FertilityDecoding,
    MaskPredictDecoding,
    NonAutoregressiveDecoding,
)
from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.interop.exported import Target as ExportTarget
    from saccade.quantisation import RunPrecision
    from saccade.use.loaded import LoadedModel
    from saccade.use.translator import Translator


def choice(*allowed: str, **options: Any) -> Any:
    """An option whose value is one of a few names."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"{value}: allowed are {', '.join(allowed)}.")
        return value

    return typer.Option(metavar="|".join(allowed), callback=check, **options)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", show_default=False, help="A run folder (its best model is used) or a model folder."
    ),
]
Models = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A run folder (its best model is used) or a model folder; several, separated by commas, "
        "translate together as an ensemble.",
    ),
]
Source = Annotated[Path, option("FILE", "Source text, one sentence a line.")]
Target = Annotated[Path, option("FILE", "Its translation; line N translates line N of the source.")]
References = Annotated[
    list[Path],
    option(
        "FILE",
        "Reference translations, one a line, not tokenised; repeat the option for several references of the "
        "same text.",
        "--reference",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tokenize = Annotated[
    str | None,
    option(
        "NAME",
        "sacreBLEU's tokeniser: 13a, zh, ja-mecab, char, intl, or none for tokenised text.",
        default="what fits the reference's script",
    ),
]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="Ignore case in scores.")]
PrecisionName = Annotated[
    str | None,
    choice(
        "float32",
        "int8",
        "bfloat16",
        "float16",
        show_default="as the weights are stored",
        help="Numeric precision of matrix multiplications. int8 is faster on CPUs but quantises the weights; "
        "bfloat16 and float16 are for GPUs.",
    ),
]
Reranker = Annotated[
    Path | None,
    option(
        "MODEL", "Model that chooses among the candidates of a non-autoregressive model (see --candidates)."
    ),
]

SEARCH = Offer(
    DecodingConfig, "beam", "length_penalty", "alpha", "max_length", "max_source_length", "batch_tokens"
)
CANDIDATES = Offer(NonAutoregressiveDecoding, "candidates")
ITERATIONS = Offer(MaskPredictDecoding, "iterations")
FERTILITIES = Offer(FertilityDecoding, "fertilities")


@dataclass(frozen=True)
class Languages:
    """The languages that a model of many languages translates between."""

    source_language: Annotated[
        str | None,
        option("CODE", "Language to translate from, for models of many languages.", default="the model's"),
    ] = None
    target_language: Annotated[
        str | None,
        option("CODE", "Language to translate into, for models of many languages.", default="the model's"),
    ] = None


@dataclass(frozen=True)
class Running:
    """Where a model runs."""

    device: Annotated[
        str | None, option("NAME", "Device: cpu, cuda, cuda:1, ...", default="a GPU if there is one")
    ] = None
    threads: Annotated[
        int | None, option("N", "Number of processor threads.", default="one for each core", min=1, max=1024)
    ] = None

    def set_up(self) -> None:
        """Set the number of threads; raises UserError where the device can't be used."""
        from saccade.machine import usable_device, use_threads

        if self.threads is not None:
            use_threads(self.threads)
        if self.device is not None:
            try:
                usable_device(self.device)
            except UserError as error:
                raise UserError(f"--{error}") from error


@dataclass(frozen=True)
class Use(Running, Languages):
    """How a translator runs."""


def ensemble(model: Path) -> list[Path]:
    """The folders that an argument A,B,C names; [] if it names one, which may have commas in its name."""
    names = str(model).split(",")
    return [] if len(names) == 1 or model.exists() else [Path(name) for name in names if name]


@contextmanager
def without_collection() -> Iterator[None]:
    """Pauses Python's garbage collection, which took a tenth of a command's start: imports and models leave
    next to nothing to be collected."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_collection()
def load_translator(
    model: Path,
    use: Use,
    settings: Settings,
    *,
    engine: str | None = None,
    precision: str | None = None,
    reranker: Path | None = None,
) -> "Translator":
    """The model as it was asked for; exported folders run in their own engine.

    Raises UserError for languages and settings that it does not have, before any work.
    """
    from saccade.interop.exported import is_exported
    from saccade.use.translator import Translator

    use.set_up()
    folders = ensemble(model)
    if folders and (engine not in (None, "saccade", "torch") or any(map(is_exported, folders))):
        raise UserError(
            f"{model}: exported models and their engines cannot form an ensemble. Give model folders, and "
            "leave --engine at saccade or torch."
        )
    if engine in (None, "saccade", "torch") and not is_exported(model):
        translator = Translator.load(
            folders or model,
            device=use.device,
            precision=cast("RunPrecision | None", precision),
            reranker=reranker,
            engine=cast(Literal["saccade", "torch"], engine or "saccade"),
        )
    else:
        translator = _open_exported(model, use, engine=engine, precision=precision, reranker=reranker)
    translator = translator.between(use.source_language, use.target_language)
    tell_note(translator)
    return translator.with_options(**settings["decoding"])


def tell_note(model: "LoadedModel") -> None:
    """Print what a user should choose before the first text, if something is undecided."""
    if note := model.note():
        typer.echo(f"Note: {note} Choose one with --target-language.", err=True)


def _open_exported(
    model: Path, use: Use, *, engine: str | None, precision: str | None, reranker: Path | None
) -> "Translator":
    from saccade.interop.exporting import open_exported

    if precision is not None:
        raise UserError(
            "--precision: only for Saccade's own engines; an exported model keeps the precision it was given."
        )
    if engine in ("saccade", "torch"):
        raise UserError(f"--engine {engine}: {model} is an exported model, which runs in its own engine.")
    target = cast("ExportTarget | None", engine)
    return open_exported(model, target=target, device=use.device, threads=use.threads, reranker=reranker)
