"""What may change before a run is resumed: some settings, but not the text that it was prepared from.

Two records say what a run was trained with. RUN/data/prepared.json is about the text and the settings that
determine it; the state of the checkpoint `last` has all settings. Sections declare what may be changed in
`Section.changeable`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.model_folder.checkpoint import read_json
from saccade.config import Section
from saccade.errors import ConfigError, DamagedFile, InputError
from saccade.storage.files import write_text
from saccade.tasks.interface import SECTIONS, Experiment
from saccade.text.corpus import file_hash

RECORD = "prepared.json"
Tables = Mapping[str, Mapping[str, Any]]

_REASONS = {
    "data": "the text was prepared with it",
    "tokenizer": "the vocabulary was learned with it",
    "model": "the weights were trained with it and fit no other model",
    "training": "the run would no longer be the one that was begun",
    "validation": "scores before and after the change could not be compared",
    "decoding": "scores before and after the change could not be compared",
}
_MADE_FROM = ("init_from", "teacher", "encoder_from")
"""Settings of [training] that determine the prepared text, because they bring a vocabulary."""


@dataclass(frozen=True)
class Change:
    """A setting that differs from what the run was trained with; None: it is not set."""

    section: str
    name: str
    before: Any
    now: Any

    @property
    def key(self) -> str:
        """The setting as it is written in a configuration."""
        return f"{self.section}.{self.name}"

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.before)} before, {_shown(self.now)} now"


def changes(before: Tables, now: Tables) -> list[Change]:
    """The settings that differ between two configurations, in the order of the sections."""
    found = []
    for section in SECTIONS:
        old, new = before.get(section, {}), now.get(section, {})
        if section == "model" and old.get("kind") != new.get("kind"):  # the other settings depend on it
            old, new = ({"kind": table.get("kind")} for table in (old, new))
        names = [*old, *(name for name in new if name not in old)]
        found += [
            Change(section, name, old.get(name), new.get(name))
            for name in names
            if old.get(name) != new.get(name)
        ]
    return found


def without_moves(found: list[Change], plan: Experiment, run: Path) -> list[Change]:
    """The changes except those that only say where the same text is now, or name other test files."""
    report = run / "data" / "report.json"
    digests = _digests(report) if report.exists() else None

    def is_moved(change: Change) -> bool:
        if change.section != "data" or not _paths(getattr(plan.data, change.name, None)):
            return False
        if digests is None or change.name.startswith("test_"):  # what is prepared again is compared then
            return True
        now = [Path(path) for path in change.now or ()]
        before = [_digest_of(Path(path), digests) for path in change.before or ()]
        return all(path.is_file() for path in now) and [file_hash(path) for path in now] == before

    return [change for change in found if not is_moved(change)]


def require_changeable(found: list[Change], plan: Experiment, run: Path) -> None:
    """Raises UserError for changes after which a run is no longer the one that was begun."""
    fixed = [change for change in found if change.name not in _section(plan, change.section).changeable]
    if not fixed:
        return
    lines = [f"{change}. It cannot change, because {_REASONS[change.section]}." for change in fixed]
    free = ", ".join(f"{name}.{key}" for name in SECTIONS for key in sorted(_section(plan, name).changeable))
    raise ConfigError(
        "\n".join(lines)
        + f"\n{run}: the run keeps these settings. Set them back in its config.toml, or start a new run, "
        f"which may take over its weights (training.init_from). A resumed run may change {free}."
    )


def record_prepared(plan: Experiment, run: Path) -> None:
    """Records what the text in RUN/data was prepared from. Raises OSError if it cannot be written."""
    files = {str(path): _stamp(path) for path in _text_files(plan.data)}
    record = {"settings": _settings_of_text(plan.tables()), "files": files}
    write_text(run / "data" / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def check_prepared(plan: Experiment, run: Path) -> list[str]:
    """Compares the prepared text of a run with its configuration and its files; returns notes.

    Files that are no longer there are noted, and those of equal size and time are not read. Raises UserError
    if a setting or a file has changed.
    """
    digests = _digests(run / "data" / "report.json")
    record = _record(run / "data" / RECORD)
    if record["settings"]:
        found = changes(record["settings"], _settings_of_text(plan.tables()))
        require_changeable(without_moves(found, plan, run), plan, run)
    missing, changed = [], []
    for path in _text_files(plan.data):
        if not path.is_file():
            missing.append(str(path))
        elif _has_changed(path, _digest_of(path, digests), record["files"].get(str(path))):
            changed.append(str(path))
    if changed:
        raise InputError(
            f"{', '.join(changed)}: changed since {run} was prepared from it, and a resumed run would be "
            "trained on two texts. Put the old text back, or start a new run (training.init_from takes over "
            "the weights)."
        )
    return [_note_on(missing, plan)] if missing else []


def require_same_text(before: Mapping[str, Any], now: Mapping[str, Any], plan: Experiment, run: Path) -> None:
    """Raises UserError if a checkpoint was trained on other text than is prepared now.

    before, now: digests by file name, as the checkpoint and the prepared text have them.
    """
    own = {path.name for path in _text_files(plan.data)}
    changed = sorted(name for name in own & now.keys() if now[name] not in before.values())
    if before and changed:
        raise InputError(
            f"{run}: its checkpoint was trained on other text than is prepared now: {', '.join(changed)} "
            "changed. Put the old text back, or start a new run (training.init_from takes over the weights)."
        )


def _section(plan: Experiment, name: str) -> type[Section]:
    found = type(getattr(plan, name))
    assert issubclass(found, Section)
    return found


def _settings_of_text(tables: Tables) -> dict[str, dict[str, Any]]:
    """The settings that determine the prepared text."""
    training = {name: value for name, value in tables["training"].items() if name in _MADE_FROM}
    return {
        **{name: dict(tables[name]) for name in ("data", "tokenizer") if name in tables},
        "training": training,
    }


def _text_files(data: Section) -> list[Path]:
    """The training and validation files; test files are only reported on."""
    return [
        path
        for name in type(data).model_fields
        if not name.startswith("test_")
        for path in _paths(getattr(data, name))
    ]


def _paths(value: object) -> tuple[Path, ...]:
    if isinstance(value, tuple) and all(isinstance(item, Path) for item in value):
        return value
    return ()


def _has_changed(path: Path, digest: str | None, stamp: object) -> bool:
    """Whether a file has other content than was prepared; digest: None for a file that was moved here."""
    return digest is not None and stamp != _stamp(path) and file_hash(path) != digest


def _stamp(path: Path) -> list[int] | None:
    """Size and time of a file, which nearly always change with it; None if it is no plain file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if path.is_file() else None


def _digests(report: Path) -> dict[str, str]:
    """The digests of the files that were prepared, by path, and by name if only one file has it."""
    files = read_json(report).get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise DamagedFile(
            f"{report}: damaged: it lists no files. Delete the folder {report.parent}; the text is prepared "
            "again."
        )
    names = Counter(Path(path).name for path in files)
    # Runs of earlier versions may have paths that were relative to another folder.
    return {**{Path(path).name: one for path, one in files.items() if names[Path(path).name] == 1}, **files}


def _digest_of(path: Path, digests: Mapping[str, str]) -> str | None:
    return digests.get(str(path), digests.get(path.name))


def _record(path: Path) -> dict[str, dict[str, Any]]:
    """The record of a run; runs of earlier versions have none."""
    record = read_json(path) if path.exists() else {}
    parts = {name: record.get(name, {}) for name in ("settings", "files")}
    settings = parts["settings"]
    tables = settings.values() if isinstance(settings, dict) else [None]
    if not isinstance(parts["files"], dict) or not all(isinstance(table, dict) for table in tables):
        raise DamagedFile(f"{path}: damaged. Delete the folder {path.parent}; the text is prepared again.")
    return parts


def _note_on(missing: list[str], plan: Experiment) -> str:
    sampling = getattr(plan.tokenizer, "sampling", 0.0)
    later = "; the next epoch needs it, because tokenizer.sampling is set" if sampling else ""
    return f"{', '.join(missing)}: not there any more. The prepared text is used{later}."


def _shown(value: Any) -> str:
    text = "unset" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
