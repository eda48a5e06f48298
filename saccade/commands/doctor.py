"""saccade doctor: what this machine has and what it can train."""

from typing import Annotated

import typer

from saccade.commands.parameters import option


def doctor(
    preset: Annotated[
        str, option("tiny|small|base|big", "Size of the Transformer that the batch is measured with.")
    ] = "small",
) -> None:
    """Report on this machine and what it can train.

    Prints versions, device, precision, memory, optional packages, and the largest safe batch. The batch is
    measured with two real training steps and extrapolated to 80% of the free memory, which takes about ten
    seconds on a CPU. For larger models on a CPU it is estimated.

    \b
    Example:
      saccade doctor --preset base
    """
    from saccade import doctor as found
    from saccade.models import model_config

    model_config({"preset": preset})  # a wrong name is reported at once
    for name, fact in found.facts().items():
        typer.echo(f"{name + ':':<10} {fact}")
    for extra in found.extras():
        state = extra.version or f"missing: {extra.install}"
        typer.echo(f"{extra.package + ':':<10} {state}")
    batch = found.largest_batch(preset)
    how = "measured" if batch.measured else "estimated"
    sizes = f"{found.gigabytes(batch.bytes_fixed)} and {batch.bytes_per_token / 1000:,.0f} kB a token, {how}"
    if batch.tokens:
        typer.echo(f"batch:     training.batch_tokens up to {batch.tokens:,} for preset {preset} ({sizes})")
    else:
        typer.echo(
            f"batch:     preset {preset} does not fit into this memory ({sizes}); choose a smaller one"
        )
