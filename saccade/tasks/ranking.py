"""Ranking: training on lists of candidates, and log-loss, NDCG and hit rate for validation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.ranker import RankerConfig
from saccade.tasks.advice import on_training
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.labelling import NoDecoding, require_reader_settings
from saccade.text.batching import Batch, collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.preprocessor import Preprocessor
from saccade.text.ranking import (
    LABELS,
    SOURCE,
    RankingConfig,
    RankingReport,
    open_prepared_ranking,
    prepare_ranking,
)
from saccade.text.table import FieldsConfig, TableFields
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.ranking import ChoiceLoss
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.ranking_scores import RankingScores
from saccade.use.table_ranker import probabilities


class RankingValidationConfig(ValidationSchedule):
    """When and how to validate a ranker; validation picks the best checkpoint and may end training early."""

    metric: Literal["loss", "ndcg", "hit"] = "loss"
    """Score that decides which checkpoint is the best."""


SECTIONS: dict[str, type[Section]] = {
    "data": RankingConfig,
    "tokenizer": FieldsConfig,
    "validation": RankingValidationConfig,
    "decoding": NoDecoding,
}
"""The sections of the configuration that the task defines."""


@dataclass(frozen=True)
class RankingValidation(ValidationScores):
    """The scores of a ranker. loss: of the objective, in nats per candidate; log_loss: that of the
    candidates' probabilities; ndcg, hit: 0 to 100, and 0 without lists of several candidates."""

    log_loss: float
    ndcg: float
    hit: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        ranked = f"NDCG {self.ndcg:.2f}%  hits {self.hit:.2f}%"
        return f"loss {self.loss:.4f}  log-loss {self.log_loss:.4f}  {ranked}"


class Ranking(Task):
    """The task of rankers."""

    use = "read"

    def sections(self, model: Section) -> Mapping[str, type[Section]]:
        """See `Task.sections`."""
        return SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        require_reader_settings(plan)
        model, fields = cast(RankerConfig, plan.model), cast(FieldsConfig, plan.tokenizer)
        if plan.training.label_smoothing:
            raise ConfigError("training.label_smoothing: a ranker has none; leave it out.")
        if plan.start.init_from is None and (model.attends == "history") != (fields.history is not None):
            raise ConfigError(
                'a history is for models with attends = "history", and they need one: set tokenizer.history '
                "and tokenizer.item, or leave them out."
            )
        most = cast(RankingConfig, plan.data).max_history
        if model.positions == "learned" and most > model.max_positions - 2:
            raise ConfigError(
                f"data.max_history = {most}: with learned positions it is at most model.max_positions - 2."
            )
        if (
            plan.start.init_from is None
            and fields.group is None
            and (model.attends == "list" or model.listwise)
        ):
            raise ConfigError(
                "a model of lists needs to know which rows belong together: set tokenizer.group."
            )

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(RankingConfig, data).text:
            raise ConfigError("no training table: set data.text.")

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> RankingReport:
        """See `Task.prepare`."""
        given = tokenizer if isinstance(tokenizer, TableFields) else None
        config, fields = cast(RankingConfig, plan.data), cast(FieldsConfig, plan.tokenizer)
        return prepare_ranking(config, fields, out=out, tokenizer=given)

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = open_prepared_ranking(out), plan.training

        def data(_: Any) -> TrainingLines:
            return TrainingLines(
                lines_of=lambda _: prepared.train,
                collate=_batch,
                sides=(SOURCE,),
                batch_tokens=training.batch_tokens,
                accumulate=training.accumulate,
                seed=training.seed,
            )

        check = None
        if prepared.valid is not None:
            check = partial(
                validate_ranking,
                lines=prepared.valid,
                objective=self.objective(plan, None),
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        provenance = {"data": named(prepared.report.files), "pairs": prepared.report.train.lists}
        return Material(prepared.tokenizer, data, check, provenance)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return ChoiceLoss(cast(RankerConfig, plan.model).listwise)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`: an estimate, because the length of lists varies."""
        assert isinstance(report, RankingReport)
        return max(1, -(-report.train.candidates // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        assert isinstance(report, RankingReport)
        found = []
        if report.valid is None:
            found.append("no validation table: the last model will count as the best. Set data.valid_text.")
        elif report.valid.unknown > report.valid.candidates // 10:
            found.append(
                f"{report.valid.unknown:,} values of {report.valid.candidates:,} validation rows do not "
                "occur in training: leave out fields that name single rows, such as numbers of orders."
            )
        if not 0 < report.train.chosen < report.train.candidates:
            found.append(
                "all training rows have the same label: there is nothing to learn. Correct the table."
            )
        return [*found, *on_training(plan, self.batches_an_epoch(plan, report))]


def _batch(lines: EncodedLines, indices: Sequence[int] | Any) -> Batch:
    return Batch(collate(lines, indices), counted=LABELS)


@torch.no_grad()
def validate_ranking(
    model: Model, lines: EncodedLines, *, objective: Objective, device: torch.device, batch_tokens: int
) -> RankingValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    model.network.eval()
    network = cast(Any, model.network)
    total, count, found = 0.0, 0, []
    for indices in plan_batches(lines[SOURCE].lengths, batch_tokens=batch_tokens, seed=0, epoch=0):
        batch = _batch(lines, indices).to(device)
        total += float(objective(network, batch))
        count += batch.target_tokens
        shares = probabilities(network, batch.columns)
        for labels, own, length in zip(
            batch[LABELS].values.tolist(), shares, batch[LABELS].lengths.tolist(), strict=True
        ):
            found.append((labels[:length], own))
    loss, scores = total / count, RankingScores.of(found)
    return RankingValidation(
        loss,
        math.exp(min(loss, 100.0)),
        scores.log_loss,
        100 * (scores.ndcg or 0.0),
        100 * (scores.hit or 0.0),
    )
