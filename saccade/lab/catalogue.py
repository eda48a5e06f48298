"""The experiments of the lab in their order, and how one is found by its name."""

import difflib
from collections.abc import Sequence

from saccade.errors import NotFound
from saccade.lab.experiment import Experiment
from saccade.lab.experiments import (
    adding,
    additive,
    alignment,
    beams,
    context,
    cost,
    data,
    exposure,
    extrapolation,
    fixed_vector,
    forgetting,
    future,
    heads,
    identities,
    induction,
    ladder,
    lookup,
    norms,
    order,
    padding,
    parallel,
    pronoun,
    query_key,
    race,
    residuals,
    scaling,
    sinusoids,
    smoothing,
    warmup,
)

EXPERIMENTS: tuple[Experiment, ...] = tuple(
    module.EXPERIMENT
    for module in (
        scaling,
        future,
        padding,
        order,
        ladder,
        heads,
        identities,
        query_key,
        additive,
        lookup,
        sinusoids,
        extrapolation,
        adding,
        residuals,
        norms,
        warmup,
        smoothing,
        exposure,
        forgetting,
        cost,
        fixed_vector,
        context,
        parallel,
        race,
        beams,
        alignment,
        data,
        induction,
        pronoun,
    )
)
"""All experiments, in the order of the pages."""


def find(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The experiments of these names, each once, in their order here. Raises NotFound for an unknown name."""
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
            hint = f"Do you mean {near[0]}?" if near else "All are: " + ", ".join(known) + "."
            raise NotFound(f"{name}: no such experiment. {hint}", topic="experiment")
    return tuple(experiment for name, experiment in known.items() if name in names)
