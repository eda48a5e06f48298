"""Options that several commands share, and the translator they ask for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from saccade.errors import UserError

if TYPE_CHECKING:
    from saccade.interop.exported import Target
    from saccade.quantisation import Precision
    from saccade.translator import Translator

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", show_default=False, help="A run folder (its best model) or a model folder."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default="a GPU where there is one", help="cpu, cuda, cuda:1, ..."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default="one a core", help="Processor threads."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="torch|ctranslate2|onnx",
        show_default="torch; for exported folders theirs",
        help="What computes. A model is converted for ctranslate2 when it is read.",
    ),
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="float32|int8",
        show_default="as the weights are stored",
        help="Of the products; int8 is faster and rounds the weights.",
    ),
]
Beam = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", show_default="the model's", help="Hypotheses kept a sentence; 1 is greedy."
    ),
]
LengthPenalty = Annotated[
    str | None,
    typer.Option(
        metavar="gnmt|power",
        show_default="the model's",
        help="gnmt: ((5+n)/6)^alpha; power: n^alpha, for n tokens.",
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="A", show_default="the model's", help="Strength of the length penalty; 0: none."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="source tokens + 50",
        help="Most tokens of a translation, its end symbol counted.",
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="the model's, else 4096",
        help="Source tokens decoded together, beam and padding counted; lower it when memory runs out.",
    ),
]
Tokenize = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="13a",
        help="sacreBLEU's tokeniser: 13a, zh, ja-mecab, char, intl, none (text that is tokenised already).",
    ),
]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="Score without regard to case.")]
Candidates = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        show_default="the model's",
        help="Non-autoregressive: fertility sequences, lengths or targets that are tried; the model or "
        "--teacher chooses.",
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", show_default="the model's", help="Mask-predict: rounds."),
]
Fertilities = Annotated[
    str | None,
    typer.Option(
        metavar="argmax|average",
        show_default="the model's",
        help="Non-autoregressive: each piece's likeliest number of words, or its mean.",
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL", help="Non-autoregressive: the model that picks among the --candidates of another."
    ),
]
SourceLanguage = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="the model's",
        help="What to translate from, for models of many languages.",
    ),
]
TargetLanguage = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="the model's",
        help="What to translate into, for models of many languages.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; the model's own settings hold for the others."""
    return {name: value for name, value in options.items() if value is not None}


def load_translator(
    model: Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    teacher: Path | None = None,
) -> "Translator":
    """The model, where and with as many threads as was asked; exported folders run in their own engine."""
    from saccade.interop.exported import is_exported
    from saccade.translator import Translator

    set_up(device=device, threads=threads)
    if engine in (None, "torch") and not is_exported(model):
        return Translator.load(model, device=device, precision=_precision(precision), teacher=teacher)
    if precision is not None:
        raise UserError("--precision is for Saccade's own models; exported ones keep what they were given.")
    from saccade.interop.exporting import open_exported

    return open_exported(model, target=_target(engine), device=device, threads=threads, teacher=teacher)


def set_up(*, device: str | None, threads: int | None) -> None:
    """Use so many threads; raises UserError where the device can't be used."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if device is not None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"--device {device}: not usable here: {reason}") from error


def _precision(name: str | None) -> "Precision | None":
    from saccade.quantisation import Precision

    if name is not None and name not in get_args(Precision):
        raise UserError(f"--precision {name}: allowed are {', '.join(get_args(Precision))}.")
    return cast("Precision | None", name)


def _target(engine: str | None) -> "Target | None":
    from saccade.interop.exported import Target

    if engine is not None and engine not in get_args(Target):
        raise UserError(f"--engine {engine}: allowed are torch, {', '.join(get_args(Target))}.")
    return cast("Target | None", engine)
