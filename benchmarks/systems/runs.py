"""Training: one run for each system and seed, through Saccade's own runs, so that any can be resumed."""

from collections.abc import Iterator
from pathlib import Path

from saccade.errors import UserError
from saccade.model_folder.checkpoint import read_json
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.tasks.interface import Experiment
from saccade.training.distributed import process_group

SAME = ("tokenizer", "model", "training", "validation", "decoding")
"""Sections in which a run that is picked up has to agree; paths of data may be written differently."""


def train(run: Path, plan: Experiment) -> None:
    """Start a run or resume it; a finished one stays as it is. UserError if it is another's."""
    with process_group() as group:
        if not (run / "config.toml").is_file():
            start_run(plan, run, group, say=print)
            return
        for name, here, there in differences(plan, read_experiment(run / "config.toml", resolved=True)):
            raise UserError(
                f"{run}: was made with {name} = {there}, and {here} is asked for. "
                "Choose another --runs folder."
            )
        if is_finished(run):
            print(f"{run}: finished")
        else:
            resume_run(run, group, say=print)


def differences(one: Experiment, other: Experiment) -> Iterator[tuple[str, object, object]]:
    """Settings that two experiments do not share: name, and both values."""
    ours, theirs = one.tables(), other.tables()
    for section in SAME:
        mine, its = ours.get(section, {}), theirs.get(section, {})
        for key in sorted(mine.keys() | its.keys()):
            if mine.get(key) != its.get(key):
                yield f"{section}.{key}", mine.get(key), its.get(key)


def is_finished(run: Path) -> bool:
    """Whether a run has trained all its updates."""
    state = run / "checkpoints" / "last" / "training.json"
    return state.is_file() and bool(read_json(state)["counters"]["finished"])
