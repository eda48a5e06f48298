"""What is compared: each system as its settings of `[model]`, and how its rate relates to the others'."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saccade.runs.experiment import read_experiment
from saccade.tasks.interface import Experiment


@dataclass(frozen=True)
class System:
    """settings: of `[model]`, on top of the configuration's preset. rate: the peak rate as a share of the
    configuration's; examples/ trains the kinds with 5e-3, 3e-3 and 2e-3."""

    title: str
    settings: tuple[str, ...]
    rate: float = 1.0


def _positions(kind: str) -> System:
    return System(f"Transformer, {kind} positions", (f"model.positions={kind}",))


SYSTEMS: dict[str, System] = {
    "transformer": System("Transformer", ()),
    "local": System("Transformer, window 4", ("model.window=4",)),
    "recurrent": System("recurrent, additive attention", ("model.kind=recurrent",), 0.6),
    "fixed-vector": System(
        "recurrent, one fixed vector", ("model.kind=recurrent", "model.attention=none"), 0.6
    ),
    "convolutional": System("convolutional", ("model.kind=convolutional",), 0.4),
    "learned": System(
        "Transformer, learned positions", ("model.positions=learned", "model.max_positions=256")
    ),
    "relative": _positions("relative"),
    "rotary": _positions("rotary"),
    "alibi": _positions("alibi"),
    "no-positions": System("Transformer, no positions", ("model.positions=none",)),
}
"""Name, as in `--systems`, to the system."""

MAIN = ("transformer", "local", "recurrent", "fixed-vector", "convolutional")
"""What is compared by default; the others are variants of the Transformer."""


def experiment(config: Path, system: str, *, seed: int, overrides: list[str]) -> Experiment:
    """The configuration for one system and seed; everything else is the same for all."""
    known = SYSTEMS[system]
    plan = read_experiment(config, overrides=[*overrides, *known.settings])
    changes: dict[str, Any] = {"seed": seed, "peak_rate": plan.training.peak_rate * known.rate}
    return replace(plan, training=plan.training.model_copy(update=changes))


def run_name(system: str, seed: int | str) -> str:
    """Name of the run folder; of all seeds with "*"."""
    return f"{system}-{seed}"
