"""saccade train and saccade check: from text files or a configuration to a model, or to a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.commands.hints import report
from saccade.commands.parameters import option
from saccade.errors import Interrupted, UserError

if TYPE_CHECKING:
    from saccade.tasks.interface import Experiment
    from saccade.training.distributed import Group
    from saccade.training.state import Counters

Config = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.toml", show_default=False, help="Configuration of the run; see examples/."
    ),
]


@dataclass(frozen=True)
class Wanted:
    """What the options say of a run, besides its configuration file."""

    source: Annotated[
        Path | None, option("FILE", "Training text to translate from, one sentence a line; .gz is unpacked.")
    ] = None
    target: Annotated[
        Path | None,
        option("FILE", "Translation of the training text; line N translates line N of the source."),
    ] = None
    valid_source: Annotated[
        Path | None,
        option("FILE", "Validation text to translate from.", default="pairs held out of the training text"),
    ] = None
    valid_target: Annotated[Path | None, option("FILE", "Translation of the validation text.")] = None
    preset: Annotated[
        str | None,
        option(
            "tiny|small|base|big",
            "Size of the model; each kind of model has its own sizes.",
            default="small without CONFIG.toml",
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        option(
            "KEY=VALUE",
            "Any setting by its name in CONFIG.toml, for example training.steps=2000; may be repeated.",
            "--set",
        ),
    ] = None
    init_from: Annotated[
        Path | None,
        option("MODEL", "Model to continue from, with its weights and vocabulary.", default="random weights"),
    ] = None
    source_language: Annotated[
        str | None, option("CODE", "Language of the source; with --init-from, as that model names it.")
    ] = None
    target_language: Annotated[
        str | None, option("CODE", "Language of the target; with --init-from, as that model names it.")
    ] = None

    def tables(self, config: Path | None) -> dict[str, dict[str, Any]]:
        """As tables of a configuration; without one, the options mean a small model."""
        names = ("source", "target", "valid_source", "valid_target", "source_language", "target_language")
        data = {name: str(value) for name in names if (value := getattr(self, name)) is not None}
        preset = self.preset or ("small" if config is None and self.init_from is None else None)
        tables = {
            "data": data,
            "model": {} if preset is None else {"preset": preset},
            "training": {} if self.init_from is None else {"init_from": str(self.init_from)},
        }
        return {name: table for name, table in tables.items() if table}


def train(
    config: Config = None,
    *,
    wanted: Wanted,
    out: Annotated[
        Path | None,
        option(
            "RUN",
            "Folder of the run; it must be empty or not exist yet.",
            default="runs/<name of CONFIG>, else runs/model",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        option("RUN", "Run to resume, exactly as if it had never stopped; no other option may be given."),
    ] = None,
) -> None:
    """Train a model from two text files or a configuration.

    To train a language model, set model.kind to transformer-xl, transformer-lm or recurrent-lm, and point
    data.text at plain text.

    Ctrl-C saves the run and prints how to resume it. To train on several processes, run
    torchrun --nproc-per-node N -m saccade train ...

    \b
    Examples:
      saccade train --source train.en --target train.de --out runs/en-de
      saccade train examples/multi30k-en-de.toml --set training.steps=2000
      saccade train examples/wikitext-2-transformer-xl.toml
      saccade train --resume runs/en-de
      saccade train --init-from models/opus-en-de --source own.en --target own.de --set training.steps=500
    """
    if resume is not None and any((config, out, *vars(wanted).values())):
        raise typer.BadParameter(
            "no other option may be given; the run keeps its own configuration", param_hint="--resume"
        )
    run = resume or out or Path("runs") / (config.stem if config else "model")
    try:
        _train(run, config, wanted, resumes=resume is not None)
    except KeyboardInterrupt:
        if not (run / "config.toml").is_file():
            raise
        raise Interrupted(f"Interrupted. Resume with: saccade train --resume {run}") from None


def check(config: Config = None, *, wanted: Wanted) -> None:
    """Report on data and configuration without training.

    Takes the same options as `saccade train`, learns the vocabulary and encodes the text in the same way,
    and prints all settings, which sentence pairs are kept or dropped and why, the size of the model, and
    warnings.

    \b
    Examples:
      saccade check examples/multi30k-en-de.toml
      saccade check --source train.en --target train.de --preset tiny
    """
    from saccade import experiment
    from saccade.config import dump_toml
    from saccade.folders import temporary_folder
    from saccade.tasks import task_for
    from saccade.tasks.advice import model_size

    overrides = wanted.settings or []
    plan = experiment.read_experiment(config, tables=wanted.tables(config), overrides=overrides)
    with temporary_folder("check") as folder:
        report = experiment.check(plan, folder)
    parameters = model_size(plan.model, report)
    typer.echo(dump_toml(plan.tables()))
    for line in report.summary():
        typer.echo(line)
    task = task_for(plan.model)
    epochs = plan.training.steps * plan.training.accumulate / task.batches_an_epoch(plan, report)
    typer.echo(f"model: {parameters:,} parameters")
    typer.echo(f"training: {plan.training.steps:,} updates, about {epochs:,.1f} epochs")
    warnings = task.advice(plan, report, parameters=parameters)
    for warning in warnings:
        typer.echo(f"Warning: {warning}")
    if not warnings:
        typer.echo("No problems found.")


def _train(run: Path, config: Path | None, wanted: Wanted, *, resumes: bool) -> None:
    from saccade import experiment
    from saccade.training.allocator import steady_memory
    from saccade.training.distributed import process_group

    def read() -> "Experiment":
        overrides = wanted.settings or []
        return experiment.read_experiment(config, tables=wanted.tables(config), overrides=overrides)

    steady_memory()
    with process_group() as group:
        plan = None if resumes else _read_by_all(group, read)
        say = _say if group.leads else _ignore
        try:
            if plan is None:
                counters = experiment.resume_run(run, group, say=say)
            else:
                counters = experiment.start_run(plan, run, group, say=say)
        except Interrupted as stopped:
            if not group.leads:
                raise typer.Exit(130) from None
            raise Interrupted(f"{stopped} Resume with: saccade train --resume {run}") from None
        if group.leads:
            _farewell(run, counters, experiment.read_experiment(run / "config.toml", resolved=True))


def _read_by_all(group: "Group", read: "Callable[[], Experiment]") -> "Experiment":
    """The configuration, which each process reads; what is wrong with it is reported once.

    Every process ends when one does, so all of them wait until the first one has printed its error.
    """
    plan = error = None
    try:
        plan = read()
    except UserError as found:
        if group.size == 1:
            raise
        error = found
    if group.leads and error is not None:
        report(error)
    failed = group.gather(error is not None)
    if error is not None and not failed[0]:  # a problem of this machine alone, such as a missing file
        report(error)
    if plan is None or any(failed):
        raise typer.Exit(2)
    return plan


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _ignore(line: str) -> None:
    pass


def _farewell(run: Path, counters: "Counters", plan: "Experiment") -> None:
    from saccade.tasks import task_for

    best, metric = "", plan.validation.metric
    if counters.best is not None:
        value = -counters.best if metric == "loss" else counters.best
        best = f", the best at step {counters.best_step:,} with {metric} {value:.2f}"
    minutes, seconds = divmod(round(counters.seconds), 60)
    typer.echo(f"Done: {counters.step:,} steps in {minutes} min {seconds:02} s{best}.")
    typer.echo(f"Model: {run / 'checkpoints' / 'best'}")
    typer.echo(f"Try:   {_EXAMPLES[task_for(plan.model).use].format(run=run)}")


_EXAMPLES = {
    "translate": 'echo "your text" | saccade translate {run}',
    "generate": 'saccade generate {run} --prompt "your text"',
}
"""How a trained model is used, by `Task.use`."""
