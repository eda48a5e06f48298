"""The progress of a run, as training.json keeps it beside a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from saccade.errors import DamagedFile
from saccade.model_folder.checkpoint import read_json

STATE_FILE = "training.json"

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""How saved values are read: without conversions, NaN or infinity."""

_LATER = {"window", "best_loss", "unscored", "fixed_shapes"}
"""Counters that runs of earlier versions do not have."""

_MOST = 1 << 53
"""The largest count that every reader of JSON keeps exactly."""

_MOST_PARTS = 1 << 24


@dataclass
class Window:
    """Sums over the updates since metrics were last written, without skipped updates."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    loss: float = 0.0
    norm: float = 0.0
    tokens: int = 0
    updates: int = 0


@dataclass
class Counters:
    """The progress of a run, written to training.json in this form.

    step: updates done, including skipped ones; epoch, done: position in the data; best_loss: loss of the best
    checkpoint; stale: validations since the best one; unscored: the latest ones whose loss was not finite;
    skipped, skipped_in_row: updates skipped because they were not finite; micro_batches: number of parts each
    batch is split into after an out-of-memory error; fixed_shapes: whether the batches of the present epoch
    have a few shapes; kept: steps whose weights will be averaged; window: sums for the next metrics.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    step: int = 0
    epoch: int = 0
    done: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    best_loss: float | None = None
    stale: int = 0
    unscored: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    micro_batches: int = 1
    fixed_shapes: bool = False
    finished: bool = False
    kept: list[int] = field(default_factory=list)
    window: Window = field(default_factory=Window)


def read_counters(path: Path) -> Counters:
    """Reads the counters of a training.json; raises UserError if no run can have written them."""
    saved = _part(path, "counters")
    if "pieces" in saved:  # its name in runs of Saccade 0.1
        saved["micro_batches"] = saved.pop("pieces")
    if missing := {one.name for one in fields(Counters)} - saved.keys() - _LATER:
        raise damaged_state(path, f"counters.{min(missing)} is missing")
    try:
        counters = TypeAdapter(Counters).validate_json(json.dumps(saved))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, ("counters", *problem["loc"])))
        shown = repr(problem["input"])[:60]
        reason = problem["msg"].replace("Input should", "must", 1)
        raise damaged_state(path, f"{name} = {shown}: {reason}") from error
    if problems := _impossible(counters):
        raise damaged_state(path, f"counters: {problems[0]}")
    return counters


def read_saved_settings(path: Path) -> dict[str, Any] | None:
    """The configuration in a training.json, as tables; None in a run of an earlier version."""
    if "settings" not in read_json(path):
        return None
    settings = _part(path, "settings")
    if not all(isinstance(table, dict) for table in settings.values()):
        raise damaged_state(path, "its settings are no tables")
    return settings


def damaged_state(path: Path, reason: str) -> DamagedFile:
    """The error for a state that cannot be resumed from."""
    return DamagedFile(
        f"{path}: damaged training state: {reason}. Copy the run again, or start a new run from one of its "
        "checkpoints (training.init_from)."
    )


def _part(path: Path, name: str) -> dict[str, Any]:
    part = read_json(path).get(name)
    if not isinstance(part, Mapping):
        raise damaged_state(path, f"it has no {name}")
    return dict(part)


def _impossible(counters: Counters) -> list[str]:
    """What contradicts itself, in words."""
    step, window = counters.step, counters.window
    counts = {
        name: value
        for owner, prefix in ((counters, ""), (window, "window."))
        for one in fields(owner)
        for name, value in ((prefix + one.name, getattr(owner, one.name)),)
        if name not in ("best", "best_loss", "window.loss", "kept", "window", "fixed_shapes")
    }
    found = [f"{name} = {value} is out of range" for name, value in counts.items() if not 0 <= value <= _MOST]
    bounded = ("epoch", "done", "best_step", "stale", "unscored", "skipped", "window.updates")
    found += [
        f"{name} = {counts[name]} is more than step = {step}" for name in bounded if counts[name] > step
    ]
    if counters.skipped_in_row > counters.skipped:
        found.append(f"skipped_in_row = {counters.skipped_in_row} is more than skipped = {counters.skipped}")
    parts = counters.micro_batches
    if not 1 <= parts <= _MOST_PARTS or parts & (parts - 1):
        found.append(f"micro_batches = {parts} is no power of two from 1 to {_MOST_PARTS}")
    kept = counters.kept
    if kept != sorted(set(kept)) or not all(0 < one <= step for one in kept):
        found.append(f"kept = {str(kept)[:60]} are no rising steps up to {step}")
    return found
