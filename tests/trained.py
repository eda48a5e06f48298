"""Tiny readers, trained when a test first needs one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import saccade
from saccade.runs.experiment import read_experiment, start_run
from saccade.training.distributed import Group
from tests.readers import READERS, STEPS

EVERYTHING = ("model.dropout=0.2", "training.ema=0.9", "training.average=2", "training.accumulate=2")
UPDATES = ("training.steps=4", "training.save_every=2", "validation.every=2")


class Trained:
    """The readers that have been trained, each when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> Path:
        folder = self.root / name
        if not folder.exists():
            folder.mkdir()
            READERS[name].write_all(folder)
        return folder

    def settings(self, name: str) -> list[str]:
        reader = READERS[name]
        origin = reader.starts_from
        start = [] if origin is None else [f"training.encoder_from={self.run(origin)}"]
        return [f"model.kind={reader.kind}", *reader.files(self.data(name)), *STEPS, *start, *reader.settings]

    def run(self, name: str) -> Path:
        run = self.data(name) / "run"
        if not run.exists():
            self.train(name, "run", *EVERYTHING, *UPDATES)
        return run

    def train(self, name: str, run: str, *settings: str) -> Path:
        words = [*self.settings(name), *READERS[name].existing(settings)]
        start_run(read_experiment(overrides=words), self.data(name) / run, Group())
        return self.data(name) / run

    def load(self, name: str) -> tuple[Any, Path]:
        """The loaded model, and the file to predict from."""
        reader = READERS[name]
        given = reader.given(self.data(name) / reader.file("valid"))
        return saccade.load(self.run(name), device="cpu"), given


def lines_of(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]
