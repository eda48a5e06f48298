"""The composition of a training run: configuration, data, model, objective and loop."""

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from saccade.model_folder.checkpoint import Model, read_description, vocabulary_of
from saccade.config import apply_overrides, build, check_sections, load_toml
from saccade.distribution import version as own_version
from saccade.errors import ConfigError, NotFound, UserError
from saccade.storage.folders import disk_error
from saccade.models import build_model, model_config
from saccade.models.families import TranslationModel
from saccade.models.interface import Vocabulary
from saccade.models.outline import require_room
from saccade.native.fork import survive_fork
from saccade.runs.resuming import (
    Change,
    changes,
    check_prepared,
    record_prepared,
    require_changeable,
    require_same_text,
    without_moves,
)
from saccade.runs.folder import claimed, has_last, require_free, unclaim, with_absolute_paths, write_config
from saccade.tasks import task_for
from saccade.tasks.advice import model_size
from saccade.tasks.interface import SECTIONS, Experiment, Material, Report
from saccade.text.lines import require_many
from saccade.text.tokenizer import Tokenizer
from saccade.training.checkpoints import require_no_link
from saccade.training.counters import (
    STATE_FILE,
    Counters,
    damaged_state,
    read_counters,
    read_saved_settings,
)
from saccade.training.distributed import Group
from saccade.training.loop import Setup, train
from saccade.training.memory import naming_lack_of_memory
from saccade.training.run_lock import owned
from saccade.training.settings import TrainingConfig
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
    require_many(overrides, "overrides")
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
    if training.encoder_from is not None and not task.takes_encoder:
        raise ConfigError("training.encoder_from: only for models that label; leave it out.")
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


def warnings(experiment: Experiment, report: Report) -> list[str]:
    """Choices and faults of the text that are likely to spoil the run, each in a sentence or two."""
    parameters = model_size(experiment.model, report)
    return task_for(experiment.model).advice(experiment, report, parameters=parameters)


def start_run(experiment: Experiment, run: Path, group: Group, *, say: Say = silent) -> Counters:
    """Trains a new run in the folder `run`, which must be empty or not exist.

    If training cannot begin, because of the data or for lack of memory, the folder is left unchanged.
    """
    on_cpu = group.device.type == "cpu"

    def claim() -> None:
        nonlocal experiment
        experiment = claimed(experiment, run, say=say)
        report = _prepare(experiment, run, say=say)
        if report is not None:
            require_room(experiment.model, _sizes(report), trained=on_cpu)

    def check_first() -> None:
        require_room(experiment.model, trained=on_cpu)
        require_free(run)

    group.lead(check_first)
    with naming_lack_of_memory(), owned(run, group):
        try:
            group.lead(claim)
            setup, resumes = _compose(experiment, run, group, say=say)
        except BaseException as error:
            # A run that is interrupted while its text is prepared can be resumed, because it has its text.
            if group.leads and (isinstance(error, Exception) or not (run / "config.toml").exists()):
                unclaim(run)
            raise
        return train(setup, resume=resumes)


def resume_run(run: Path, group: Group, *, overrides: Iterable[str] = (), say: Say = silent) -> Counters:
    """Resumes a run exactly as if it had never stopped.

    overrides: settings to change, such as "training.steps=2000"; they are written to the run's config.toml.
    Raises UserError if a setting that a run keeps, or its text, has changed.
    """
    require_many(overrides, "overrides")
    if not (run / "config.toml").is_file():
        raise NotFound(f"{run}: holds no run (no config.toml).", topic="no-run")
    overrides = list(overrides)
    experiment = with_absolute_paths(read_experiment(run / "config.toml", overrides=overrides, resolved=True))
    with naming_lack_of_memory(), owned(run, group):
        group.lead(lambda: _take_up(experiment, run, rewrites=bool(overrides), say=say))
        setup, resumes = _compose(experiment, run, group, say=say)
        return train(setup, resume=resumes)


def _take_up(experiment: Experiment, run: Path, *, rewrites: bool, say: Say) -> None:
    """Compares a run with what it was trained with, and prepares its text if necessary."""
    last = run / "checkpoints" / "last"
    for folder in (run / "checkpoints", last, run / "data"):
        require_no_link(folder)
    found = _changes(experiment, last) if has_last(run) else []
    require_changeable(found, experiment, run)
    if found:
        _require_steps(experiment, last)
    if (run / "data" / "report.json").exists():
        for note in check_prepared(experiment, run):
            say(note)
    _prepare(experiment, run, say=say)
    if rewrites:
        write_config(run, experiment)
    for change in found:
        say(f"Changed: {change}.")


def _changes(experiment: Experiment, last: Path) -> list[Change]:
    """How the configuration differs from that of the checkpoint `last`."""
    saved = read_saved_settings(last / STATE_FILE)
    if saved is None:  # a run of an earlier version
        model = model_config(read_description(last)["model"]).model_dump(mode="json", exclude_none=True)
        saved = {**experiment.tables(), "model": model}
    try:
        before = read_experiment(tables=saved, resolved=True).tables()
    except UserError as error:
        raise damaged_state(last / STATE_FILE, str(error)) from error
    return without_moves(changes(before, experiment.tables()), experiment, last.parents[1])


def _require_steps(experiment: Experiment, last: Path) -> None:
    done, steps = read_counters(last / STATE_FILE).step, experiment.training.steps
    if steps < done:
        raise ConfigError(f"training.steps = {steps}: the run has done {done} updates; set at least as many.")


def _compose(experiment: Experiment, run: Path, group: Group, *, say: Say) -> tuple[Setup, bool]:
    """The parts of a run, and whether it continues from a checkpoint."""
    survive_fork()
    task = task_for(experiment.model)
    material = task.material(experiment, run / "data", group)
    resumes = has_last(run)
    if resumes:
        trained_on = read_description(run / "checkpoints" / "last")["provenance"].get("data", {})
        require_same_text(trained_on, material.provenance["data"], experiment, run)
    torch.manual_seed(experiment.training.seed)
    model = Model(
        network=build_model(experiment.model, vocabulary_of(material.tokenizer)),
        config=experiment.model,
        tokenizer=cast(Tokenizer, material.tokenizer),
        decoding=experiment.decoding.model_dump(mode="json", exclude_defaults=True),
        provenance=_provenance(experiment, material, run),
        alignment=material.alignment,
    )
    teacher = load_teacher(experiment.training, model, resumes=resumes, device=group.device)
    if experiment.start.init_from is not None and not resumes:
        experiment.start.init_from.copy_weights(model)
    if experiment.start.encoder_from is not None and not resumes:
        experiment.start.encoder_from.copy_encoder(model)
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
        settings=experiment.tables(),
    )
    return setup, resumes


def _prepare(experiment: Experiment, run: Path, *, say: Say) -> Report | None:
    """Prepares the data and returns a report on them, unless an earlier start has done so."""
    out = run / "data"
    if (out / "report.json").exists():
        return None
    report = check(experiment, out)
    for line in report.summary():
        say(line)
    for warning in warnings(experiment, report):
        say(f"Warning: {warning}")
    try:
        record_prepared(experiment, run)
    except OSError as error:
        raise disk_error(out, error) from error
    return report


def _sizes(report: Report) -> Vocabulary:
    """A vocabulary of the sizes in a report; its special ids do not matter to the size of a model."""
    sizes = report.source_vocab_size, report.target_vocab_size
    return Vocabulary(*sizes, pad=0, start=2, end=3, shared=report.shared_vocabulary)


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
