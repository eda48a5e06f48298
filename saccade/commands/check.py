"""saccade check: a report on text and configuration before training."""

import typer

from saccade.commands.run_options import Config, Wanted


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
    from saccade.config import dump_toml
    from saccade.distribution import install_hint
    from saccade.runs import experiment
    from saccade.runs.folder import with_kept_text
    from saccade.storage.folders import temporary_folder
    from saccade.tasks import task_for
    from saccade.tasks.advice import model_size
    from saccade.text.language_id import available

    overrides = wanted.settings or []
    plan = experiment.read_experiment(config, tables=wanted.tables(config), overrides=overrides)
    task = task_for(plan.model)
    with temporary_folder("check") as folder:
        readable = with_kept_text(plan, folder / "text", say=experiment.silent)
        report = experiment.check(readable, folder / "data")
        warnings = experiment.warnings(readable, report)
    typer.echo(dump_toml(plan.tables()))
    for line in report.summary():
        typer.echo(line)
    epochs = plan.training.steps * plan.training.accumulate / task.batches_an_epoch(plan, report)
    typer.echo(f"model: {model_size(plan.model, report):,} parameters")
    typer.echo(f"training: {plan.training.steps:,} updates, about {epochs:,.1f} epochs")
    for warning in warnings:
        typer.echo(f"Warning: {warning}")
    if not warnings:
        typer.echo("No problems found.")
    if getattr(plan.data, "languages", None) and not available():
        typer.echo(
            "The languages of the text were not checked, which needs the package py3langid: "
            f"{install_hint('langid')}."
        )
