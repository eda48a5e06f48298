"""The composition of a training run: configuration, data, model, objective and loop."""

import contextlib
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from saccade.checkpoint import Model, vocabulary_of
from saccade.config import apply_overrides, build, check_sections, dump_toml, load_toml
from saccade.distribution import version as own_version
from saccade.errors import Conflict, NotFound, UserError
from saccade.folders import disk_error, settle_folder
from saccade.models import build_model, model_config
from saccade.models.families import TranslationModel
from saccade.native.fork import survive_fork
from saccade.tasks import task_for
from saccade.tasks.interface import SECTIONS, Experiment, Material, Report
from saccade.training.distributed import Group
from saccade.training.loop import Setup, train
from saccade.training.settings import TrainingConfig
from saccade.training.state import Counters
from saccade.training.teacher import load_teacher, take_encoder
from saccade.training.warm_start import WarmStart

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Ignores a message."""


def read_experiment(
    config: Path | None = None,
    *,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    overrides: Iterable[str] = (),
    resolved: bool = False,
) -> Experiment:
    """Reads a configuration from a TOML file, then `tables`, then overrides such as "training.steps=2000".

    resolved: the configuration is that of a run, which already includes the settings of `training.init_from`.
    Raises UserError for the first section with unknown keys, wrong types or invalid values.
    """
    merged: dict[str, Any] = load_toml(config) if config is not None else {}
    check_sections(merged, SECTIONS)
    for name, table in (tables or {}).items():
        merged[name] = {**merged.get(name, {}), **table}
    merged = apply_overrides(merged, overrides)
    check_sections(merged, SECTIONS)
    training = build(TrainingConfig, merged.get("training", {}), where="training")
    start = WarmStart.of(training)
    if not resolved:
        merged = start.complete(merged)
    model = model_config(merged.get("model", {}))
    task = task_for(model)
    own: dict[str, Any] = {
        name: build(section, merged.get(name, {}), where=name)
        for name, section in task.sections(model).items()
    }
    plan = Experiment(model=model, training=training, start=start, **own)
    task.check(plan)
    if start.teacher is not None and not resolved and not issubclass(start.teacher.family, TranslationModel):
        raise UserError(
            f"{start.teacher.key} = {start.teacher.folder}: this is {start.teacher.family.purpose}; name a "
            "model that translates."
        )
    return plan


def check(experiment: Experiment, out: Path) -> Report:
    """Prepares the data in `out` as training would, without training; returns a report on them."""
    return task_for(experiment.model).prepare(experiment, out, tokenizer=experiment.start.tokenizer())


def start_run(experiment: Experiment, run: Path, group: Group, *, say: Say = silent) -> Counters:
    """Trains a new run in the folder `run`, which must be empty or not exist.

    If the data cannot be prepared, the folder is left unchanged.
    """

    def claim_and_prepare() -> None:
        absent = [folder for folder in (run, *run.parents) if not folder.exists()]
        _claim(run, experiment)
        try:
            _prepare(experiment, run, say=say)
        except UserError:
            _unclaim(run, made=absent)
            raise

    group.lead(claim_and_prepare)
    return _train(experiment, run, group, say=say)


def resume_run(run: Path, group: Group, *, say: Say = silent) -> Counters:
    """Resumes a run exactly as if it had never stopped."""
    if not (run / "config.toml").is_file():
        raise NotFound(f"{run}: holds no run (no config.toml).", topic="no-run")
    experiment = read_experiment(run / "config.toml", resolved=True)
    group.lead(lambda: _prepare(experiment, run, say=say))
    return _train(experiment, run, group, say=say)


def _train(experiment: Experiment, run: Path, group: Group, *, say: Say) -> Counters:
    survive_fork()
    task = task_for(experiment.model)
    material = task.material(experiment, run / "data", group)
    resumes = _has_last(run)
    torch.manual_seed(experiment.training.seed)
    model = Model(
        network=build_model(experiment.model, vocabulary_of(material.tokenizer)),
        config=experiment.model,
        tokenizer=material.tokenizer,
        decoding=experiment.decoding.model_dump(mode="json", exclude_defaults=True),
        provenance=_provenance(experiment, material, run),
    )
    teacher = load_teacher(experiment.training, model, resumes=resumes, device=group.device)
    if experiment.start.init_from is not None and not resumes:
        experiment.start.init_from.copy_weights(model)
    if experiment.training.init_encoder and teacher is not None and not resumes:
        take_encoder(model, teacher)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    say(f"{parameters:,} parameters, {group.size} process(es) on {group.device.type}, run folder {run}")
    setup = Setup(
        run=run,
        model=model,
        data=material.data(model.network),
        validate=material.validate,
        objective=task.objective(experiment, teacher),
        config=experiment.training,
        validation=experiment.validation,
        group=group,
    )
    return train(setup, resume=resumes)


def _has_last(run: Path) -> bool:
    settle_folder(run / "checkpoints" / "last")
    return (run / "checkpoints" / "last").exists()


def _claim(run: Path, experiment: Experiment) -> None:
    """Makes the run folder with its configuration; existing files are never overwritten."""
    if (run / "config.toml").exists():
        raise Conflict(f"{run}: already holds a run.", topic="run-exists", run=run)
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise Conflict(f"{run}: exists and is not an empty folder.", topic="out")
    data = experiment.data
    task_for(experiment.model).require_text(data)
    files = {name: _absolute(value) for name, value in data.model_dump().items()}
    training = experiment.training
    folders = {"init_from": training.init_from, "teacher": training.teacher}
    training = training.model_copy(update={name: _absolute(path) for name, path in folders.items()})
    resolved = replace(experiment, data=data.model_copy(update=files), training=training)
    try:
        run.mkdir(parents=True, exist_ok=True)
        partial = run / ".config.toml.new"
        partial.write_text(dump_toml(resolved.tables()), encoding="utf-8")
        partial.replace(run / "config.toml")
    except OSError as error:
        raise disk_error(run, error) from error


def _absolute(value: Any) -> Any:
    """Makes paths absolute, so that a run can be resumed from any folder."""
    if isinstance(value, Path):
        return value.absolute()
    return tuple(_absolute(item) for item in value) if isinstance(value, tuple) else value


def _unclaim(run: Path, *, made: Sequence[Path]) -> None:
    """Undoes `_claim`: nothing was trained, and the next attempt may have another configuration."""
    (run / "config.toml").unlink(missing_ok=True)
    shutil.rmtree(run / "data", ignore_errors=True)
    with contextlib.suppress(OSError):  # another process has put something there
        for folder in made:
            folder.rmdir()


def _prepare(experiment: Experiment, run: Path, *, say: Say) -> None:
    """Prepares the data unless an earlier start has done so."""
    out = run / "data"
    if (out / "report.json").exists():
        return
    for line in check(experiment, out).summary():
        say(line)


def _provenance(experiment: Experiment, material: Material, run: Path) -> dict[str, Any]:
    """The origin of the model: models and files by name and hash, without paths, and package versions."""
    return {
        **experiment.start.provenance(run / "checkpoints" / "last"),
        "seed": experiment.training.seed,
        **material.provenance,
        "versions": {
            "saccade": own_version(),
            "torch": str(torch.__version__),
            "sentencepiece": version("sentencepiece"),
            "python": platform.python_version(),
        },
    }
