"""Every kind of model that reads, with tiny data and settings, a file for each family.

`tests/test_readers.py` and `tests/smoke.py` run all of them. A family is found by its file in this folder,
whose `READERS` have names such as "ranker, list", so a new one is entered nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from saccade.models import KINDS

STEPS = ("training.batch_tokens=60", "training.warmup=4", "training.log_every=1")
"""The settings that all tiny readers share."""
SIZES = ("model.width=16", "model.heads=2", "model.feed_forward=16")
"""The sizes of those that have Transformer layers."""


@dataclass(frozen=True)
class Refusal:
    """A file that is wrong. text: what it holds; message: what is said about it, with FILE for its name."""

    text: str
    message: str


@dataclass(frozen=True)
class Reader:
    """A tiny model that reads.

    settings: of the kind, besides STEPS; write: writes `count` examples to a file; metrics: the names of what
    validation measures; scored: the first word of its scores on the command line, None if it has none; shown:
    what one can look inside the model with, from a file of examples; wrong: training files that are refused;
    unknown: a file that is refused when a trained model is scored; given: the file to predict from, made of
    one with answers; starts_from: the name of the reader whose encoder it starts from.
    """

    kind: str
    settings: tuple[str, ...]
    write: Callable[[Path, int, int], None]
    metrics: tuple[str, ...]
    scored: str | None
    shown: Callable[[Path], str]
    wrong: tuple[Refusal, ...] = ()
    unknown: Refusal | None = None
    given: Callable[[Path], Path] = lambda path: path
    ending: str = ".tsv"
    starts_from: str | None = None

    def files(self, folder: Path) -> list[str]:
        """The settings of [data] for a folder with `write`'s files."""
        return [f"data.{part}text={folder / self.file(name)}" for part, name in _SPLITS.items()]

    def file(self, split: str) -> str:
        """The name of the file of a split, train or valid."""
        return f"{split}{self.ending}"

    def existing(self, settings: Iterable[str]) -> list[str]:
        """Those settings that are not of other kinds alone, such as a dropout that this one lacks."""
        known = {f"model.{name}" for name in KINDS[self.kind].config.model_fields}
        return [one for one in settings if not one.startswith("model.") or one.partition("=")[0] in known]

    def write_all(self, folder: Path, *, train: int = 40, valid: int = 8) -> None:
        """Writes both files."""
        for seed, (split, count) in enumerate({"train": train, "valid": valid}.items(), start=1):
            self.write(folder / self.file(split), count, seed)


_SPLITS = {"": "train", "valid_": "valid"}

READERS: dict[str, Reader] = {
    name: reader
    for module in iter_modules(__path__)
    for name, reader in import_module(f"{__name__}.{module.name}").READERS.items()
}
"""What the test is called, and the reader."""
