"""Pointing: training on inputs with positions as their answer, and exact answers for validation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import PositiveInt

from saccade.config import Section
from saccade.decoding.pointing import PointerDecoding
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Pointer, expect
from saccade.models.pointer import PointerConfig
from saccade.tasks.advice import on_training
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.labelling import require_reader_settings
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.pointed_examples import (
    PointedConfig,
    PointedReport,
    PointedTokenizerConfig,
    open_prepared_tasks,
    prepare_tasks,
)
from saccade.text.pointing import SOURCE, TARGET
from saccade.text.preprocessor import Preprocessor
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.pointing import PointerCrossEntropy
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.pointer import answers_of


class PointerValidationConfig(ValidationSchedule):
    """When and how to validate a pointer network; validation picks the best checkpoint and may end training
    early."""

    metric: Literal["exact", "loss"] = "exact"
    """Score that decides which checkpoint is the best."""
    beam: PositiveInt = 1
    """Beam size for the scored answers; greedy search is faster and ranks checkpoints nearly as well."""


@dataclass(frozen=True)
class PointerValidation(ValidationScores):
    """The scores of a pointer network.

    loss: nats per position; exact: share of answers that are right from beginning to end.
    """

    exact: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"loss {self.loss:.4f}  exact {self.exact:.1%}"


_LARGE_NUMBER = 100

SECTIONS: dict[str, type[Section]] = {
    "data": PointedConfig,
    "tokenizer": PointedTokenizerConfig,
    "validation": PointerValidationConfig,
    "decoding": PointerDecoding,
}
"""The sections of the configuration that the task defines."""


def pointed_batch(lines: EncodedLines, indices: Sequence[int] | Any) -> Batch:
    """The lines at `indices`, in that order, as one batch; its loss is divided by the positions."""
    return Batch(collate(lines, indices), counted=TARGET)


@torch.no_grad()
def validate_answers(
    model: Model, lines: EncodedLines, *, options: PointerDecoding, device: torch.device, batch_tokens: int
) -> PointerValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    network, objective = expect(model.network, Pointer).eval(), PointerCrossEntropy()
    total, right, count = 0.0, 0, 0
    for indices in plan_batches(lines[SOURCE].lengths, batch_tokens=batch_tokens, seed=0, epoch=0):
        batch = pointed_batch(lines, indices).to(device)
        total += float(objective(network, batch))
        count += batch.target_tokens
        source = batch[SOURCE]
        found = answers_of(network, source.values, source.lengths, options=options)
        gold = (tuple(lines[TARGET].line(int(index))[:-1].tolist()) for index in indices)
        right += sum(one.tokens == answer for one, answer in zip(found, gold, strict=True))
    loss = total / count
    return PointerValidation(loss, math.exp(min(loss, 100.0)), right / len(lines))


class Pointing(Task):
    """The task of pointer networks."""

    use = "predict"

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        require_reader_settings(plan)
        if plan.training.label_smoothing:
            raise ConfigError(
                "training.label_smoothing: an answer of positions has nothing to smooth; leave it out."
            )

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(PointedConfig, data).text:
            raise ConfigError("no training text: set data.text.")

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> PointedReport:
        """See `Task.prepare`."""
        numbers, config = cast(PointerConfig, plan.model).numbers, cast(PointedConfig, plan.data)
        return prepare_tasks(config, numbers=numbers, out=out)

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = open_prepared_tasks(out), plan.training

        def data(_: object) -> TrainingLines:
            return TrainingLines(
                lines_of=lambda _: prepared.train,
                collate=pointed_batch,
                sides=(SOURCE, TARGET),
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
            )

        check = None
        if prepared.valid is not None:
            config, options = cast(PointerValidationConfig, plan.validation), plan.decoding
            check = partial(
                validate_answers,
                lines=prepared.valid,
                options=cast(PointerDecoding, options).model_copy(update={"beam": config.beam}),
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance = {"data": named(prepared.report.files), "pairs": prepared.report.train.examples}
        return Material(prepared.tokenizer, data, check, provenance)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return PointerCrossEntropy()

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`: an estimate, because the number of a batch's inputs varies."""
        assert isinstance(report, PointedReport)
        return max(1, -(-report.train.positions // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        assert isinstance(report, PointedReport)
        return [*_on_examples(report), *on_training(plan, self.batches_an_epoch(plan, report))]


def _on_examples(report: PointedReport) -> Iterator[str]:
    train, valid = report.train, report.valid
    if valid is None:
        yield "no validation text: the last model will count as the best. Set data.valid_text."
    else:
        if valid.seen:
            yield (
                f"the inputs of {valid.seen:,} of {valid.examples:,} validation examples are also in the "
                "training text: scores on them are too high. Remove them from the training text."
            )
        if valid.lowest < train.lowest or valid.highest > train.highest:
            yield (
                f"validation numbers are from {valid.lowest:.6g} to {valid.highest:.6g}, those of the "
                f"training text from {train.lowest:.6g} to {train.highest:.6g}: some are new to the model."
            )
    if max(abs(train.lowest), abs(train.highest)) > _LARGE_NUMBER:
        yield (
            f"numbers from {train.lowest:.6g} to {train.highest:.6g}: a network learns from numbers about as "
            "large as 1. Scale them, for example to the range from 0 to 1."
        )
    if report.test_seen is not None and report.test_seen[1]:
        count, seen = report.test_seen
        yield f"the inputs of {seen:,} of {count:,} test examples are also in the training text."
