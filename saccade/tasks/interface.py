"""The configuration of a training run, and the interface of the tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from saccade.config import Section
from saccade.model_folder.checkpoint import Model
from saccade.model_folder.heads import AlignmentHeads
from saccade.text.preprocessor import Preprocessor
from saccade.training.data import TrainingData
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.settings import TrainingConfig
from saccade.training.validation import Schedule, ValidationScores
from saccade.training.warm_start import WarmStart

SECTIONS = ("data", "tokenizer", "model", "training", "validation", "decoding")


@dataclass(frozen=True)
class Experiment:
    """A complete, checked configuration. The kind of model decides `model`; its task decides the others.

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
        """The configuration as TOML tables with every default resolved.

        The tokeniser's table is left out if the vocabulary comes from another model.
        """
        names = [name for name in SECTIONS if name != "tokenizer" or self.start.vocabulary_from is None]
        return {name: getattr(self, name).model_dump(mode="json", exclude_none=True) for name in names}


class Report(Protocol):
    """The interface of reports on prepared text."""

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
    """The prepared text as a run uses it.

    data: makes the training data for a network. validate: scores a model; None without validation text.
    provenance: what the model folder records about the text. alignment: the heads that are trained to align.
    """

    tokenizer: Preprocessor
    data: Callable[[Any], TrainingData]
    validate: Callable[[Model], ValidationScores] | None
    provenance: Mapping[str, Any]
    alignment: AlignmentHeads | None = None


class Task(ABC):
    """The interface of a task: the parts of a run that differ between the families of models."""

    takes_encoder: ClassVar[bool] = False
    """Whether a model of the task can start from another model's encoder (`training.encoder_from`)."""
    use: ClassVar[str]
    """Use of a trained model, as a verb that the command line maps to a command."""

    @abstractmethod
    def sections(self, model: Section) -> Mapping[str, type[Section]]:
        """The sections of the configuration that the task defines, by name."""

    def check(self, plan: Experiment) -> None:  # noqa: B027 - most have no objections
        """Raises UserError for settings that do not fit this kind of model."""

    @abstractmethod
    def require_text(self, data: Section) -> None:
        """Raises UserError if the configuration names no training text."""

    @abstractmethod
    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> Report:
        """Segments and encode the text into the folder `out`, with a new tokeniser if None is given."""

    @abstractmethod
    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """Opens what `prepare` wrote to `out`."""

    @abstractmethod
    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """The objective that training minimises. teacher: the model that it may learn from."""

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """Number of batches in which the whole text is read once."""
        raise NotImplementedError

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """Warnings, each in a sentence or two, about choices that are likely to spoil the run."""
        raise NotImplementedError


def named(files: Mapping[str, str]) -> dict[str, str]:
    """Hashes by file name, so that a model folder does not reveal the paths on its author's machine."""
    return {Path(path).name: digest for path, digest in files.items()}
