"""saccade train and saccade check: from text files or a configuration to a model, or to a report."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.options import SourceLanguage, TargetLanguage
from saccade.errors import Interrupted, UserError

if TYPE_CHECKING:
    from saccade.training.plan import Experiment
    from saccade.training.state import Counters

Config = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.toml", show_default=False, help="Every setting of the run; see examples/."
    ),
]
Source = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Training text to translate from, one sentence a line; .gz is unpacked."
    ),
]
Target = Annotated[Path | None, typer.Option(metavar="FILE", help="Its translation, line N to line N.")]
ValidSource = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default="pairs held out of the training text", help="Validation text."),
]
ValidTarget = Annotated[Path | None, typer.Option(metavar="FILE", help="Its translation.")]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="tiny|small|base|big",
        show_default="small without CONFIG.toml",
        help="Size of the model: width 128, 256, 512, 1024.",
    ),
]
InitFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL", show_default="random weights", help="Go on from this model's weights and vocabulary."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting as CONFIG.toml names it, as in training.steps=2000; repeat at will.",
    ),
]


def train(
    config: Config = None,
    *,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    preset: Preset = None,
    settings: Settings = None,
    init_from: InitFrom = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            show_default="runs/<name of CONFIG>, else runs/model",
            help="Folder of the run; it must not exist or be empty.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with a run exactly as if it had never stopped; goes alone."),
    ] = None,
) -> None:
    """Train a model from two text files or a configuration.

    A configuration whose model.kind is one of language (transformer-xl, transformer-lm, recurrent-lm) trains
    on running text, data.text.

    Ctrl-C saves and says how to go on. Several processes: torchrun --nproc-per-node N -m saccade train ...

    \b
    Examples:
      saccade train --source train.en --target train.de --out runs/en-de
      saccade train examples/multi30k-en-de.toml --set training.steps=2000
      saccade train examples/wikitext-2-transformer-xl.toml
      saccade train --resume runs/en-de
      saccade train --init-from models/opus-en-de --source own.en --target own.de --set training.steps=500
    """
    data = {
        "source": source,
        "target": target,
        "valid_source": valid_source,
        "valid_target": valid_target,
        "source_language": source_language,
        "target_language": target_language,
    }
    if resume is not None and any((config, preset, settings, init_from, out, *data.values())):
        raise typer.BadParameter("it goes alone; the run keeps its own configuration", param_hint="--resume")
    tables = _tables(config, data, preset=preset, init_from=init_from)
    run = resume or out or Path("runs") / (config.stem if config else "model")
    try:
        _train(run, config, tables, settings or [], resumes=resume is not None)
    except KeyboardInterrupt:
        if not (run / "config.toml").is_file():
            raise
        raise Interrupted(f"Interrupted. Go on with: saccade train --resume {run}") from None


def check(
    config: Config = None,
    *,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    preset: Preset = None,
    settings: Settings = None,
    init_from: InitFrom = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
) -> None:
    """Report on data and configuration without training.

    Takes what `saccade train` takes, learns the vocabulary and encodes the text as it would, and prints
    every setting, what was kept and dropped and why, the size of the model, and what to mend.

    \b
    Examples:
      saccade check examples/multi30k-en-de.toml
      saccade check --source train.en --target train.de --preset tiny
    """
    from tempfile import TemporaryDirectory

    from saccade import experiment
    from saccade.advice import advice, batches_an_epoch, model_size
    from saccade.config import dump_toml

    data = {
        "source": source,
        "target": target,
        "valid_source": valid_source,
        "valid_target": valid_target,
        "source_language": source_language,
        "target_language": target_language,
    }
    tables = _tables(config, data, preset=preset, init_from=init_from)
    plan = experiment.read_experiment(config, tables=tables, overrides=settings or [])
    with TemporaryDirectory(prefix="saccade-check-") as folder:
        report = experiment.check(plan, Path(folder))
    parameters = model_size(plan.model, report)
    typer.echo(dump_toml(plan.tables()))
    for line in report.summary():
        typer.echo(line)
    epochs = plan.training.steps * plan.training.accumulate / batches_an_epoch(plan, report)
    typer.echo(f"model: {parameters:,} parameters")
    typer.echo(f"training: {plan.training.steps:,} updates, about {epochs:,.1f} epochs")
    warnings = advice(plan, report, parameters=parameters)
    for warning in warnings:
        typer.echo(f"Warning: {warning}")
    if not warnings:
        typer.echo("Nothing to mend.")


def _tables(
    config: Path | None,
    data: dict[str, Path | str | None],
    *,
    preset: str | None,
    init_from: Path | None,
) -> dict[str, dict[str, Any]]:
    """What the options say, as tables of a configuration; by themselves they mean a small model."""
    if config is None and init_from is None:
        preset = preset or "small"
    tables = {
        "data": {name: str(value) for name, value in data.items() if value is not None},
        "model": {} if preset is None else {"preset": preset},
        "training": {} if init_from is None else {"init_from": str(init_from)},
    }
    return {name: table for name, table in tables.items() if table}


def _train(
    run: Path, config: Path | None, tables: dict[str, dict[str, Any]], settings: list[str], *, resumes: bool
) -> None:
    from saccade import experiment
    from saccade.training.allocator import steady_memory
    from saccade.training.distributed import process_group

    steady_memory()
    try:
        plan = None if resumes else experiment.read_experiment(config, tables=tables, overrides=settings)
    except UserError:
        if os.environ.get("RANK", "0") != "0":
            # Every process finds the same and the first one tells; torchrun ends all when one ends.
            time.sleep(5)
            raise typer.Exit(2) from None
        raise
    with process_group() as group:
        say = _say if group.leads else _ignore
        try:
            if plan is None:
                counters = experiment.resume_run(run, group, say=say)
            else:
                counters = experiment.start_run(plan, run, group, say=say)
        except Interrupted:
            if not group.leads:
                raise typer.Exit(130) from None
            raise
        if group.leads:
            _farewell(run, counters, experiment.read_experiment(run / "config.toml", resolved=True))


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _ignore(line: str) -> None:
    pass


def _farewell(run: Path, counters: "Counters", plan: "Experiment") -> None:
    from saccade.models.interface import LanguageModelConfig

    best, metric = "", plan.validation.metric
    if counters.best is not None:
        value = -counters.best if metric == "loss" else counters.best
        best = f", the best at step {counters.best_step:,} with {metric} {value:.2f}"
    minutes, seconds = divmod(round(counters.seconds), 60)
    typer.echo(f"Done: {counters.step:,} steps in {minutes} min {seconds:02} s{best}.")
    typer.echo(f"Model: {run / 'checkpoints' / 'best'}")
    if isinstance(plan.model, LanguageModelConfig):
        typer.echo(f'Try:   saccade generate {run} --prompt "your text"')
    else:
        typer.echo(f'Try:   echo "your text" | saccade translate {run}')
