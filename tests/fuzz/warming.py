"""What commands import, imported once: forked children have it then, and each saves seconds."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import sys
from pathlib import Path

import saccade
from tests.fuzz import subjects
from tests.fuzz.isolation import isolated


def import_what_training_imports(place: Path) -> None:
    """Imports all of saccade, and the modules that a run of training has imported at its end.

    The run is a child's: training starts threads, and a process with threads should not fork.
    """
    for module in pkgutil.walk_packages(saccade.__path__, "saccade."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    words = subjects.training("transformer", subjects.corpus(place), **{"training.steps": 1})

    def train() -> None:
        with contextlib.suppress(SystemExit):
            subjects.call("train", *words, "--out", place / "warming")
        sys.stdout.write("\n" + json.dumps(sorted(sys.modules)))

    ended = isolated(train, place=place, seconds=120)
    if ended.code != 0:
        raise RuntimeError(f"nothing can be trained: {ended.err}")
    for name in json.loads(ended.out.splitlines()[-1]):
        with contextlib.suppress(ImportError):  # such as __mp_main__, and modules that others made by hand
            importlib.import_module(name)
