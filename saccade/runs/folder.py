"""The folder of a run that has not trained anything yet: claimed, and given back if training cannot begin."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from saccade.config import dump_toml
from saccade.errors import Conflict
from saccade.storage.files import write_text
from saccade.storage.folders import disk_error, settle_folder
from saccade.storage.leftovers import remove_leftovers_of
from saccade.tasks import task_for
from saccade.tasks.interface import Experiment
from saccade.text.opening import kept
from saccade.training.checkpoints import require_no_link
from saccade.training.run_lock import LOCK, OWNER, is_empty

_OURS = {"config.toml", "data", "text", "metrics.jsonl", "tensorboard", LOCK, OWNER}
"""What a run folder holds before its first checkpoint."""


def require_free(run: Path) -> None:
    """Raises UserError for a folder with files that are not ours, or with a run that has begun."""
    if (run / "config.toml").exists() and not _is_unbegun(run):
        raise Conflict(f"{run}: already holds a run.", topic="run-exists", run=run)
    remove_leftovers_of(run / "config.toml")
    if run.exists() and (not run.is_dir() or not (is_empty(run) or _is_unbegun(run))):
        raise Conflict(f"{run}: exists and is not an empty folder.", topic="out")


def claimed(experiment: Experiment, run: Path, *, say: Callable[[str], None]) -> Experiment:
    """Gives the run folder its configuration, and text that can be read only once, such as that of a pipe.

    Existing files are never overwritten. Returns the experiment that reads this text.
    """
    require_free(run)
    for name in ("data", "text"):
        require_no_link(run / name)
    unclaim(run)
    task_for(experiment.model).require_text(experiment.data)
    try:
        experiment = with_absolute_paths(with_kept_text(experiment, run / "text", say=say))
    except OSError as error:
        raise disk_error(run, error) from error
    write_config(run, experiment)
    return experiment


def unclaim(run: Path) -> None:
    """Removes a run in which nothing was trained, so that the next attempt may have other settings."""
    for name in ("config.toml", "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)
    for name in ("data", "text", "tensorboard"):
        shutil.rmtree(run / name, ignore_errors=True)


def write_config(run: Path, experiment: Experiment) -> None:
    """Writes the resolved configuration of a run."""
    write_text(run / "config.toml", dump_toml(experiment.tables()))


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """The same experiment, which can be resumed from any folder."""
    files = {name: _absolute(value) for name, value in experiment.data.model_dump().items()}
    training = experiment.training
    folders = {name: _absolute(getattr(training, name)) for name in ("init_from", "teacher", "encoder_from")}
    return replace(
        experiment,
        data=experiment.data.model_copy(update=files),
        training=training.model_copy(update=folders),
    )


def has_last(run: Path) -> bool:
    """Whether a run has a checkpoint to resume from."""
    settle_folder(run / "checkpoints" / "last")
    return (run / "checkpoints" / "last").exists()


def _is_unbegun(run: Path) -> bool:
    """Whether a folder holds a run that ended before it had trained anything, as for lack of memory."""
    metrics = run / "metrics.jsonl"
    return (
        (run / "config.toml").is_file()
        and {path.name for path in run.iterdir()} <= _OURS
        and not (metrics.exists() and metrics.stat().st_size)
    )


def with_kept_text(experiment: Experiment, folder: Path, *, say: Callable[[str], None]) -> Experiment:
    """The experiment with text that can be read only once copied into `folder`.

    Training reads its text several times, and again when a run is resumed. say: receives a message about it.
    """
    values = dict(experiment.data)
    files = {name: value for name, value in values.items() if value and _are_paths(value)}
    copies = kept(files, folder)
    if copies == files:
        return experiment
    say(f"text that can be read only once is kept in {folder}")
    return replace(experiment, data=experiment.data.model_copy(update=copies))


def _are_paths(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, Path) for item in value)


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    return tuple(_absolute(item) for item in value) if isinstance(value, tuple) else value
