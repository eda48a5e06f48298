"""saccade doctor: what this machine has and what it can train."""

from pathlib import Path
from typing import Annotated

import typer

from saccade.commands.parameters import option


def doctor(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            show_default="this machine",
            help="A model folder, an exported folder or a run folder to check.",
        ),
    ] = None,
    *,
    preset: Annotated[
        str, option("tiny|small|base|big", "Size of the Transformer that the batch is measured with.")
    ] = "small",
) -> None:
    """Report on this machine, or check the files of a model.

    With MODEL, reads all of its files, compares them with the digests that were stored when they were
    written, and loads the weights. With a run folder, it checks each checkpoint.

    Without MODEL, prints versions, device, precision, memory, optional packages, and the largest safe batch.
    The batch is measured with two real training steps and extrapolated to 80% of the free memory, which takes
    about ten seconds on a CPU. For larger models on a CPU it is estimated. The last line times a few more
    steps, and says which share they reach of the speed of large matrix products.

    \b
    Examples:
      saccade doctor --preset base
      saccade doctor runs/en-de
    """
    from saccade import doctor as found
    from saccade.machine import gigabytes
    from saccade.models import model_config

    if model is not None:
        for folder, finding in found.check_model(model).items():
            typer.echo(f"{folder}: {finding}")
        return

    model_config({"preset": preset})  # a wrong name is reported at once
    for name, fact in found.facts().items():
        typer.echo(f"{name + ':':<10} {fact}")
    for extra in found.extras():
        state = extra.version or f"missing: {extra.install}"
        typer.echo(f"{extra.package + ':':<10} {state}")
    batch = found.largest_batch(preset)
    how = "measured" if batch.measured else "estimated"
    sizes = f"{gigabytes(batch.bytes_fixed)} and {batch.bytes_per_token / 1000:,.0f} kB a token, {how}"
    if batch.tokens:
        typer.echo(f"batch:     training.batch_tokens up to {batch.tokens:,} for preset {preset} ({sizes})")
    else:
        typer.echo(
            f"batch:     preset {preset} does not fit into this memory ({sizes}); choose a smaller one"
        )
        return
    speed = found.training_speed(preset)
    if speed is None:
        typer.echo(f"training:  preset {preset} is too large for a CPU to time")
        return
    typer.echo(
        f"training:  {speed.tokens_per_second:,.0f} target tokens/s with preset {preset}: "
        f"{speed.flops / 1e9:,.0f} GFLOP/s in its linear layers, {speed.share:.0%} of the "
        f"{speed.ceiling / 1e9:,.0f} GFLOP/s that large matrix products reach here"
    )
