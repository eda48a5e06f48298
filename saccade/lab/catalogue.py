"""The experiments of the lab in their order, and how one is found by its name."""

import difflib
from collections.abc import Sequence

from saccade.errors import NotFound
from saccade.lab.experiment import Experiment
from saccade.lab.experiments import (
    depth,
    distance,
    heads,
    layers,
    lookup,
    masks,
    parallel,
    placing,
    pointing,
    positions,
    race,
    rungs,
    scaling,
    systems,
    translation,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    scaling.SCALING,
    masks.FUTURE,
    masks.PADDING,
    positions.ORDER,
    rungs.LADDER,
    heads.SEVERAL,
    heads.IDENTITIES,
    heads.QUERY_KEY,
    lookup.ADDITIVE,
    lookup.LOOKUP,
    positions.SINUSOIDS,
    placing.EXTRAPOLATION,
    placing.ADDING,
    depth.RESIDUALS,
    depth.NORMS,
    depth.WARMUP,
    translation.SMOOTHING,
    translation.EXPOSURE,
    distance.FORGETTING,
    distance.COST,
    systems.FIXED,
    layers.CONTEXT,
    parallel.PARALLEL,
    race.RACE,
    systems.BEAMS_BETTER,
    pointing.ALIGNMENT,
    systems.DATA,
    layers.INDUCTION,
    pointing.PRONOUN,
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
