"""Pre-training of masked language models, which predict masked pieces of other text for validation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.families import MaskedLanguageModel
from saccade.nn.gathering import gathered
from saccade.tasks.advice import masked_advice
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.labelling import NoDecoding, require_reader_settings
from saccade.text.batching import collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.examples import SOURCE
from saccade.text.language_model import TextReport
from saccade.text.masked import (
    GOLD,
    PLACES,
    MaskedTextConfig,
    MaskedTokenizerConfig,
    Masking,
    open_prepared_blocks,
    prepare_blocks,
)
from saccade.text.preprocessor import Preprocessor
from saccade.text.tokenizer import Tokenizer
from saccade.training.distributed import Group
from saccade.training.masked_text import MaskedBlocks, MaskedPieces
from saccade.training.objective import Objective
from saccade.training.validation import ValidationSchedule, ValidationScores

_SEED = 20181011  # of the masks of validation


class MaskedValidationConfig(ValidationSchedule):
    """When and how to validate a masked language model; validation picks the best checkpoint and may end
    training early. The same pieces are masked each time."""

    metric: Literal["loss", "accuracy"] = "loss"
    """Score that decides which checkpoint is the best."""


@dataclass(frozen=True)
class MaskedValidation(ValidationScores):
    """Scores of masked pieces. loss: nats per piece; accuracy: share of right pieces, 0 to 100."""

    accuracy: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return (
            f"loss {self.loss:.3f}  perplexity {self.perplexity:.2f} and accuracy {self.accuracy:.2f}% of "
            "masked pieces"
        )


SECTIONS: dict[str, type[Section]] = {
    "data": MaskedTextConfig,
    "tokenizer": MaskedTokenizerConfig,
    "validation": MaskedValidationConfig,
    "decoding": NoDecoding,
}
"""The sections of the configuration that the task defines."""


class MaskedLanguageModelling(Task):
    """The task of masked language models."""

    use = "predict"

    def sections(self, model: Section) -> Mapping[str, type[Section]]:
        """See `Task.sections`."""
        return SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        require_reader_settings(plan)
        if not getattr(plan.model, "head", True):
            raise ConfigError("model.head = false: training needs the head that predicts masked pieces.")
        block, most = cast(MaskedTextConfig, plan.data).block, getattr(plan.model, "max_positions", None)
        if most is not None and block > most:
            raise ConfigError(
                f"data.block = {block}: the model reads at most model.max_positions = {most}. Lower it."
            )

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(MaskedTextConfig, data).text:
            raise ConfigError("no training text: set data.text.")

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> TextReport:
        """See `Task.prepare`."""
        config, pieces = cast(MaskedTextConfig, plan.data), cast(MaskedTokenizerConfig, plan.tokenizer)
        return prepare_blocks(config, pieces, out=out, tokenizer=cast(Tokenizer | None, tokenizer))

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = open_prepared_blocks(out), plan.training
        share = cast(MaskedTextConfig, plan.data).masked
        masking = Masking(prepared.tokenizer.mask, prepared.tokenizer.source_vocab_size, share)

        def data(_: object) -> MaskedBlocks:
            return MaskedBlocks(
                prepared.train, masking, training.batch_tokens, training.accumulate, training.seed
            )

        check = None
        if prepared.valid is not None:
            check = partial(
                validate_masked,
                lines=prepared.valid,
                masking=masking,
                device=group.device,
                batch_tokens=training.batch_tokens,
            )
        report = prepared.report
        return Material(
            prepared.tokenizer, data, check, {"data": named(report.files), "tokens": report.train.tokens}
        )

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return MaskedPieces(plan.training.label_smoothing or 0.0)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`."""
        return max(1, -(-cast(TextReport, report).train.tokens // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        batches = self.batches_an_epoch(plan, report)
        return masked_advice(plan, cast(TextReport, report), parameters=parameters, batches=batches)


@torch.no_grad()
def validate_masked(
    model: Model, lines: EncodedLines, *, masking: Masking, device: torch.device, batch_tokens: int
) -> MaskedValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    network = cast(MaskedLanguageModel, model.network.eval())
    plan = plan_batches(lines[SOURCE].lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    total, right, count = 0.0, 0, 0
    for number, rows in enumerate(plan):
        generator = np.random.default_rng((_SEED, number))
        batch = masking.apply(collate(lines, rows)[SOURCE], generator).to(device)
        gold = batch[GOLD]
        states = gathered(network.encode(batch[SOURCE]), batch[PLACES].values)[gold.real]
        logits = network.output(network.hidden(states)).float()  # (chosen, vocabulary)
        wanted = gold.values[gold.real]
        total += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
        count += batch.target_tokens
    loss = total / count
    return MaskedValidation(loss, math.exp(min(loss, 100.0)), 100 * right / count)
