"""The one page that composes a run: configuration -> data, model, objective, loop."""

import contextlib
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from saccade.checkpoint import Model, disk_error, settle_folder, vocabulary_of
from saccade.config import Section, apply_overrides, build, check_sections, dump_toml, load_toml
from saccade.errors import UserError
from saccade.models import build_model, model_config
from saccade.text.cache import EncodedPairs
from saccade.text.corpus import DataConfig, read_lines
from saccade.text.epochs import epoch_pairs
from saccade.text.prepare import Prepared, open_prepared, prepare
from saccade.text.report import DataReport
from saccade.text.tokenizer import TokenizerConfig, between
from saccade.training.data import TrainingPairs
from saccade.training.distributed import Group
from saccade.training.evaluate import ValidationConfig, ValidationData
from saccade.training.fits import decoding_section, require_fit
from saccade.training.initial import (
    origin,
    require_no_tokenizer,
    settings_of,
    take_weights,
    tokenizer_of,
)
from saccade.training.loop import Setup, TrainingConfig, train
from saccade.training.objective import objective_of
from saccade.training.state import Counters
from saccade.training.teacher import load_teacher, take_encoder

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


SECTIONS = ("data", "tokenizer", "model", "training", "validation", "decoding")


@dataclass(frozen=True)
class Experiment:
    """A whole configuration, checked. The model's section is its kind's own."""

    data: DataConfig
    tokenizer: TokenizerConfig
    model: Section
    training: TrainingConfig
    validation: ValidationConfig
    decoding: Section

    def tables(self) -> dict[str, dict[str, Any]]:
        """As TOML tables, every default resolved; without the tokeniser's where it comes with a model."""
        brought = self.training.init_from or self.training.teacher
        names = [name for name in SECTIONS if name != "tokenizer" or brought is None]
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}


def read_experiment(
    config: Path | None = None,
    *,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    overrides: Iterable[str] = (),
    resolved: bool = False,
) -> Experiment:
    """A configuration from a TOML file, then `tables`, then overrides such as "training.steps=2000".

    resolved: it is a run's own, to which `training.init_from` has nothing more to add.
    Raises UserError for the first section that has unknown keys, wrong types or impossible values.
    """
    merged: dict[str, Any] = load_toml(config) if config is not None else {}
    check_sections(merged, SECTIONS)
    for name, table in (tables or {}).items():
        merged[name] = {**merged.get(name, {}), **table}
    merged = apply_overrides(merged, overrides)
    check_sections(merged, SECTIONS)
    training = build(TrainingConfig, merged.get("training", {}), where="training")
    if training.init_from is not None and not resolved:
        merged = settings_of(training.init_from, merged)
    elif training.teacher is not None:
        require_no_tokenizer(merged, training.teacher, key="training.teacher")
    model = model_config(merged.get("model", {}))
    experiment = Experiment(
        data=build(DataConfig, merged.get("data", {}), where="data"),
        tokenizer=build(TokenizerConfig, merged.get("tokenizer", {}), where="tokenizer"),
        model=model,
        training=training,
        validation=build(ValidationConfig, merged.get("validation", {}), where="validation"),
        decoding=build(decoding_section(model), merged.get("decoding", {}), where="decoding"),
    )
    require_fit(model, training, experiment.data, validation_beam=experiment.validation.beam)
    return experiment


def check(experiment: Experiment, out: Path) -> DataReport:
    """Prepare the data in `out` as training would and report on them, without training."""
    return _prepared(experiment, out).report


def _prepared(experiment: Experiment, out: Path) -> Prepared:
    data, training = experiment.data, experiment.training
    languages = data.source_language, data.target_language
    if training.init_from is None and any(languages):
        raise UserError(
            "data.source_language, data.target_language: a new model learns its two languages from the text. "
            "Leave them out, or give training.init_from a model of many languages."
        )
    folder = training.init_from or training.teacher
    tokenizer = None if folder is None else between(tokenizer_of(folder), *languages)
    batch_tokens = experiment.training.batch_tokens
    return prepare(data, experiment.tokenizer, out=out, tokenizer=tokenizer, batch_tokens=batch_tokens)


def start_run(experiment: Experiment, run: Path, group: Group, *, say: Say = silent) -> Counters:
    """Train a new run in the folder `run`, which must not hold anything yet.

    When the data can't be prepared the folder is left as it was found.
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
    """Go on with a run exactly as if it had never stopped."""
    if not (run / "config.toml").is_file():
        raise UserError(f"{run}: holds no run (no config.toml). Give the folder that `saccade train` made.")
    experiment = read_experiment(run / "config.toml", resolved=True)
    group.lead(lambda: _prepare(experiment, run, say=say))
    return _train(experiment, run, group, say=say)


def _train(experiment: Experiment, run: Path, group: Group, *, say: Say) -> Counters:
    prepared, resumes = open_prepared(run / "data"), _has_last(run)
    torch.manual_seed(experiment.training.seed)
    vocabulary = vocabulary_of(prepared.tokenizer)
    model = Model(
        network=build_model(experiment.model, vocabulary),
        config=experiment.model,
        tokenizer=prepared.tokenizer,
        decoding=experiment.decoding.model_dump(mode="json", exclude_defaults=True),
        provenance=_provenance(experiment, prepared.report, run),
    )
    teacher = load_teacher(experiment.training, model, resumes=resumes, device=group.device)
    if experiment.training.init_from is not None and not resumes:
        take_weights(model, experiment.training.init_from)
    if experiment.training.init_encoder and teacher is not None and not resumes:
        take_encoder(model, teacher)
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    say(f"{parameters:,} parameters, {group.size} process(es) on {group.device.type}, run folder {run}")
    setup = Setup(
        run=run,
        model=model,
        data=TrainingPairs(
            pairs_of=_pairs_of(experiment, prepared, run, group),
            vocabulary=vocabulary,
            batch_tokens=experiment.training.batch_tokens,
            accumulate=experiment.training.accumulate,
            seed=experiment.training.seed,
        ),
        validation_data=_validation_data(prepared, run / "data"),
        objective=objective_of(
            model.network,
            label_smoothing=experiment.training.label_smoothing,
            glancing=experiment.training.glancing,
            teacher=None if teacher is None else teacher.network,
            fine_tuning=experiment.training.fine_tuning,
        ),
        config=experiment.training,
        validation=experiment.validation,
        group=group,
    )
    return train(setup, resume=resumes)


def _has_last(run: Path) -> bool:
    settle_folder(run / "checkpoints" / "last")
    return (run / "checkpoints" / "last").exists()


def _claim(run: Path, experiment: Experiment) -> None:
    """Make the run folder; nobody's files are ever overwritten."""
    if (run / "config.toml").exists():
        raise UserError(
            f"{run}: already holds a run. Go on with `saccade train --resume {run}`, or choose another --out."
        )
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UserError(f"{run}: exists and is not an empty folder. Choose another --out.")
    data = experiment.data
    if not data.train_files:
        raise UserError(
            "no training text: set data.source and data.target (or --source and --target), or data.pairs."
        )
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
    """Paths in a run's configuration hold wherever it is resumed from."""
    if isinstance(value, Path):
        return value.absolute()
    return tuple(_absolute(item) for item in value) if isinstance(value, tuple) else value


def _unclaim(run: Path, *, made: Sequence[Path]) -> None:
    """Take back `_claim`: nothing was trained, and the next attempt may have another configuration."""
    (run / "config.toml").unlink(missing_ok=True)
    shutil.rmtree(run / "data", ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody else has put something there
        for folder in made:
            folder.rmdir()


def _prepare(experiment: Experiment, run: Path, *, say: Say) -> None:
    """Prepare what an earlier start has not."""
    out = run / "data"
    if (out / "report.json").exists():
        return
    for line in _prepared(experiment, out).report.summary():
        say(line)


def _pairs_of(
    experiment: Experiment, prepared: Prepared, run: Path, group: Group
) -> Callable[[int], EncodedPairs]:
    """The encoded pairs of an epoch; with sub-word sampling the leader segments them anew first."""
    seed = experiment.training.seed

    def pairs(epoch: int) -> EncodedPairs:
        group.wait()  # everybody is done with the epoch before, whose files may go
        if not group.leads:
            group.wait()
        encoded = epoch_pairs(experiment.data, prepared.tokenizer, out=run / "data", epoch=epoch, seed=seed)
        if group.leads:
            group.wait()
        return encoded

    return pairs


def _validation_data(prepared: Prepared, folder: Path) -> ValidationData | None:
    if prepared.valid is None:
        return None
    return ValidationData(prepared.valid, *(_text(folder / f"valid.{side}") for side in ("source", "target")))


def _text(path: Path) -> Sequence[str]:
    return [line or "" for _, line in read_lines(path)]


def _provenance(experiment: Experiment, report: DataReport, run: Path) -> dict[str, Any]:
    """What this model was made from and with; files by name and hash, without the maker's folders."""
    folders = {"init_from": experiment.training.init_from, "teacher": experiment.training.teacher}
    last = run / "checkpoints" / "last"
    start = {name: origin(path, last, key=name) for name, path in folders.items() if path is not None}
    return {
        **start,
        "seed": experiment.training.seed,
        "data": {Path(name).name: digest for name, digest in report.files.items()},
        "pairs": report.train.kept,
        "versions": {
            "saccade": version("saccade"),
            "torch": str(torch.__version__),
            "sentencepiece": version("sentencepiece"),
            "python": platform.python_version(),
        },
    }
