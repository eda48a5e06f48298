"""What the tasks share whose examples have labels: validation by accuracy, and advice."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.tasks.advice import examples_advice
from saccade.tasks.guidance import refuse_guidance
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.examples import (
    LABELS,
    SOURCE,
    ExamplesConfig,
    ExamplesReport,
    open_prepared_examples,
)
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.validation import ValidationSchedule, ValidationScores


class LabelValidationConfig(ValidationSchedule):
    """When and how to validate a model that labels; validation picks the best checkpoint and may end training
    early."""

    metric: Literal["accuracy", "loss"] = "accuracy"
    """Score that decides which checkpoint is the best."""


@dataclass(frozen=True)
class LabelValidation(ValidationScores):
    """The scores of a model that labels. loss: nats per label; accuracy: share of right labels, 0 to 100."""

    accuracy: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"loss {self.loss:.4f}  accuracy {self.accuracy:.2f}%"


Guess = Callable[[Any, Batch], Tensor]
"""Predicts the labels of a batch: (network, batch) to (rows, labels), anything at padding."""


def labelled_batch(lines: EncodedLines, indices: Sequence[int] | Any) -> Batch:
    """The lines at `indices`, in that order, as one batch, whose loss is divided by the number of labels."""
    return Batch(collate(lines, indices), counted=LABELS)


@torch.no_grad()
def validate_labels(
    model: Model,
    lines: EncodedLines,
    *,
    objective: Objective,
    guess: Guess,
    device: torch.device,
    batch_tokens: int,
) -> LabelValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    model.network.eval()
    plan = plan_batches(lines[SOURCE].lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    total, right, count = 0.0, 0, 0
    for indices in plan:
        batch = labelled_batch(lines, indices).to(device)
        labels = batch[LABELS]
        total += float(objective(model.network, batch))
        agree = (guess(model.network, batch) == labels.values) & labels.real
        right += int(agree.sum())
        count += batch.target_tokens
    loss = total / count
    return LabelValidation(loss, math.exp(min(loss, 100.0)), 100 * right / count)


class NoDecoding(Section):
    """A model that reads has no decoding settings."""


def require_reader_settings(plan: Experiment) -> None:
    """Raises UserError for settings that a model which only reads does not have."""
    training = plan.training
    wrong = {
        "teacher": training.teacher is not None,
        "glancing": training.glancing is not None,
        "fine_tuning": training.fine_tuning > 0,
        "init_encoder": training.init_encoder,
        "r_drop": training.r_drop > 0,
    }
    for name, given in wrong.items():
        if given:
            raise ConfigError(f"training.{name}: only for models that translate; leave it out.")
    refuse_guidance(plan, "a model that reads")


class Labelling(Task):
    """The base of these tasks."""

    use = "predict"
    takes_encoder = True
    tables: ClassVar[Mapping[str, type[Section]]]
    """The sections of the configuration that the task defines."""

    @abstractmethod
    def validation_objective(self) -> Objective:
        """The objective that training minimises, without smoothing."""

    @abstractmethod
    def guess(self, network: Any, batch: Batch) -> Tensor:
        """The labels (rows, labels) that a network predicts for a batch, anything at padding."""

    def sections(self, model: Section) -> Mapping[str, type[Section]]:
        """See `Task.sections`."""
        return self.tables

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(ExamplesConfig, data).text:
            raise ConfigError("no training text: set data.text.")

    def opened(self, out: Path) -> Any:
        """Opens what `prepare` wrote: `PreparedExamples`, or what has the same parts."""
        return open_prepared_examples(out)

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = self.opened(out), plan.training

        def data(_: object) -> TrainingLines:
            return TrainingLines(
                lines_of=lambda _: prepared.train,
                collate=labelled_batch,
                sides=(SOURCE,),
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
            )

        check = None
        if prepared.valid is not None:
            check = partial(
                validate_labels,
                lines=prepared.valid,
                objective=self.validation_objective(),
                guess=self.guess,
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance = {"data": named(prepared.report.files), "pairs": prepared.report.train.examples}
        return Material(prepared.tokenizer, data, check, provenance)

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        require_reader_settings(plan)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`: an estimate, because the length of a batch's examples varies."""
        assert isinstance(report, ExamplesReport)
        return max(1, -(-report.train.positions // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        assert isinstance(report, ExamplesReport)
        return examples_advice(plan, report, batches=self.batches_an_epoch(plan, report))
