"""saccade train: from text files or a configuration to a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saccade.commands.hints import report
from saccade.commands.parameters import option
from saccade.commands.run_options import Config, Wanted
from saccade.errors import Interrupted, UserError

if TYPE_CHECKING:
    from saccade.tasks.interface import Experiment
    from saccade.training.counters import Counters
    from saccade.training.distributed import Group


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
        option(
            "RUN",
            "Run to resume, exactly as if it had never stopped; with --set, settings that it may change.",
        ),
    ] = None,
) -> None:
    """Train a model from two text files or a configuration.

    To train a language model, set model.kind to transformer-xl, transformer-lm or recurrent-lm, and point
    data.text at plain text.

    Ctrl-C saves the run and prints how to resume it, and so does SIGTERM. Training goes on if its terminal
    goes away. A finished run is trained longer with --resume RUN --set training.steps=N. To train on several
    processes, run torchrun --nproc-per-node N -m saccade train ...

    \b
    Examples:
      saccade train --source train.en --target train.de --out runs/en-de
      saccade train --source a.en --source b.en --target a.de --target b.de
      saccade train --pairs train.tsv --columns 1,3
      saccade train examples/multi30k-en-de.toml --set training.steps=2000
      saccade train examples/wikitext-2-transformer-xl.toml
      saccade train --resume runs/en-de
      saccade train --init-from models/opus-en-de --source own.en --target own.de --set training.steps=500
    """
    if resume is not None and any((config, out, *vars(replace(wanted, settings=None)).values())):
        raise typer.BadParameter(
            "no other option than --set may be given; the run keeps its own configuration",
            param_hint="--resume",
        )
    from saccade.training.memory import naming_lack_of_memory

    run = resume or out or Path("runs") / (config.stem if config else "model")
    try:
        with naming_lack_of_memory():
            _train(run, config, wanted, resumes=resume is not None)
    except KeyboardInterrupt:
        if not (run / "config.toml").is_file():
            raise
        raise Interrupted(f"Interrupted. Resume with: saccade train --resume {run}") from None


def _train(run: Path, config: Path | None, wanted: Wanted, *, resumes: bool) -> None:
    from saccade.runs import experiment
    from saccade.training.allocator import steady_memory
    from saccade.training.distributed import process_group

    def read() -> "Experiment":
        overrides = wanted.settings or []
        return experiment.read_experiment(config, tables=wanted.tables(config), overrides=overrides)

    steady_memory()
    before = _finished_step(run) if resumes else None
    with process_group() as group:
        plan = None if resumes else _read_by_all(group, read)
        say = _say if group.leads else _ignore
        try:
            if plan is None:
                counters = experiment.resume_run(run, group, overrides=wanted.settings or (), say=say)
            else:
                counters = experiment.start_run(plan, run, group, say=say)
        except Interrupted as stopped:
            if not group.leads:
                raise typer.Exit(130) from None
            raise Interrupted(f"{stopped} Resume with: saccade train --resume {run}") from None
        if group.leads:
            plan = experiment.read_experiment(run / "config.toml", resolved=True)
            _farewell(run, counters, plan)
            if counters.step == before:
                _say_how_to_continue(run, counters, plan)


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


def _finished_step(run: Path) -> int | None:
    """The step at which a run has finished; None if it has not, or cannot be read."""
    from saccade.training.counters import STATE_FILE, read_counters

    try:
        counters = read_counters(run / "checkpoints" / "last" / STATE_FILE)
    except UserError:
        return None
    return counters.step if counters.finished else None


def _say_how_to_continue(run: Path, counters: "Counters", plan: "Experiment") -> None:
    typer.echo("This run had finished before, and nothing was trained.")
    if counters.step < plan.training.steps:
        patience = plan.validation.patience or 0
        reason = f"It stopped early, at validation.patience = {patience}. To train longer:"
        setting = f"validation.patience={2 * patience}"
    else:
        reason, setting = "To train longer:", f"training.steps={2 * counters.step}"
    typer.echo(f"{reason} saccade train --resume {run} --set {setting}")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _ignore(line: str) -> None:
    pass


def _farewell(run: Path, counters: "Counters", plan: "Experiment") -> None:
    from saccade.tasks import task_for
    from saccade.training.validation import says_nothing

    best, metric = "", plan.validation.metric
    if counters.best is not None:
        value = -counters.best if metric == "loss" else counters.best
        best = f", the best at step {counters.best_step:,} with {metric} {value:.2f}"
        best += " (chosen by its loss)" if says_nothing(counters.best, metric) else ""
    minutes, seconds = divmod(round(counters.seconds), 60)
    typer.echo(f"Done: {counters.step:,} steps in {minutes} min {seconds:02} s{best}.")
    typer.echo(f"Model: {run / 'checkpoints' / 'best'}")
    typer.echo(f"Try:   {_EXAMPLES[task_for(plan.model).use].format(run=run)}")


_EXAMPLES = {
    "translate": 'echo "your text" | saccade translate {run}',
    "predict": 'echo "your text" | saccade predict {run}',
    "read": "saccade predict {run} FILE",
    "generate": 'saccade generate {run} --prompt "your text"',
}
"""How a trained model is used, by `Task.use`."""
