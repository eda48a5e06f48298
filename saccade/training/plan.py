"""What a run is to be: its whole configuration, and what differs between translators and language models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from saccade.checkpoint import Model
from saccade.config import Section
from saccade.text.tokenizer import Tokenizer
from saccade.training.data import TrainingData
from saccade.training.distributed import Group
from saccade.training.evaluate import Schedule, ValidationScores
from saccade.training.settings import TrainingConfig

SECTIONS = ("data", "tokenizer", "model", "training", "validation", "decoding")


@dataclass(frozen=True)
class Experiment:
    """A whole configuration, checked. The model's section is its kind's own, the others are its task's."""

    data: Section
    tokenizer: Section
    model: Section
    training: TrainingConfig
    validation: Schedule
    decoding: Section

    def tables(self) -> dict[str, dict[str, Any]]:
        """As TOML tables, every default resolved; without the tokeniser's where it comes with a model."""
        brought = self.training.init_from or self.training.teacher
        names = [name for name in SECTIONS if name != "tokenizer" or brought is None]
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}


class Report(Protocol):
    """What preparing the text found."""

    @property
    def source_vocab_size(self) -> int:
        """Ids of the source."""
        ...

    @property
    def target_vocab_size(self) -> int:
        """Ids of the target."""
        ...

    @property
    def shared_vocabulary(self) -> bool:
        """Whether both sides have the same ids."""
        ...

    def summary(self) -> list[str]:
        """Lines for people."""
        ...


@dataclass(frozen=True)
class Material:
    """What prepared text gives to a run.

    data: what the network is trained on. validate: scores a model; None without validation text.
    provenance: what the model folder is to say of the text.
    """

    tokenizer: Tokenizer
    data: Callable[[Any], TrainingData]
    validate: Callable[[Model], ValidationScores] | None
    provenance: Mapping[str, Any]


class Task(Protocol):
    """Translation or language modelling: everything of a run that its kind of text decides."""

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """Of the configuration, by name; without those that are the same for all, and the model's."""
        ...

    def require_text(self, data: Section) -> None:
        """UserError when the configuration names no training text."""
        ...

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Tokenizer | None) -> Report:
        """Read, cut and encode the text into the folder `out`; learns a tokeniser where none is given."""
        ...

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """What was prepared in `out`."""
        ...


def named(files: Mapping[str, str]) -> dict[str, str]:
    """Hashes by file name: a model folder says nothing of its maker's folders."""
    return {Path(path).name: digest for path, digest in files.items()}
