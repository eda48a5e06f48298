"""A run's whole configuration, and the task that owns everything of it that differs by family."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from saccade.checkpoint import Model
from saccade.config import Section
from saccade.text.tokenizer import Tokenizer
from saccade.training.data import TrainingData
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.settings import TrainingConfig
from saccade.training.validation import Schedule, ValidationScores
from saccade.training.warm_start import WarmStart

SECTIONS = ("data", "tokenizer", "model", "training", "validation", "decoding")


@dataclass(frozen=True)
class Experiment:
    """A whole configuration, checked. The model's section is its kind's own, the others are its task's.

    start: the models that the run starts from.
    """

    data: Section
    tokenizer: Section
    model: Section
    training: TrainingConfig
    validation: Schedule
    decoding: Section
    start: WarmStart

    def tables(self) -> dict[str, dict[str, Any]]:
        """The configuration as TOML tables, every default resolved; without the tokeniser's where it comes
        with a model."""
        names = [name for name in SECTIONS if name != "tokenizer" or self.start.vocabulary_from is None]
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}


class Report(Protocol):
    """What preparing the text found."""

    @property
    def source_vocab_size(self) -> int:
        """Number of source ids."""
        ...

    @property
    def target_vocab_size(self) -> int:
        """Number of target ids."""
        ...

    @property
    def shared_vocabulary(self) -> bool:
        """Whether both sides have the same ids."""
        ...

    def summary(self) -> list[str]:
        """Human-readable summary lines."""
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


class Task(ABC):
    """What a family of models is trained to do, and everything of a run that this decides."""

    use: ClassVar[str]
    """What a trained model is for, as a verb: the command line knows how it is used."""

    @abstractmethod
    def sections(self, model: Section) -> dict[str, type[Section]]:
        """The sections of the configuration that belong to the task, by name."""

    def check(self, plan: Experiment) -> None:  # noqa: B027 - most have no objections
        """Raise UserError for settings that do not fit this kind of model."""

    @abstractmethod
    def require_text(self, data: Section) -> None:
        """Raise UserError when the configuration names no training text."""

    @abstractmethod
    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Tokenizer | None) -> Report:
        """Read, cut and encode the text into the folder `out`; learns a tokeniser where none is given."""

    @abstractmethod
    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """What was prepared in `out`."""

    @abstractmethod
    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """What training minimises. teacher: whose judgement counts, if there is one."""

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """In how many batches the whole text is read once."""
        raise NotImplementedError

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """One sentence or two for each thing that is likely to be regretted later."""
        raise NotImplementedError


def named(files: Mapping[str, str]) -> dict[str, str]:
    """Hashes by file name: a model folder says nothing of its maker's folders."""
    return {Path(path).name: digest for path, digest in files.items()}
