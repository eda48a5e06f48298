"""Language modelling: training on running text, and the likelihood of other text for validation."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch

from saccade.config import Section
from saccade.decoding.text_options import ContinuationConfig
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.families import LanguageModel
from saccade.nn.reading import LanguageModelConfig
from saccade.tasks.advice import text_advice
from saccade.tasks.guidance import refuse_guidance
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.text.cache import Ids
from saccade.text.language_model import (
    TextConfig,
    TextReport,
    TextSize,
    TextTokenizerConfig,
    open_prepared_text,
    prepare_text,
)
from saccade.text.preprocessor import Preprocessor
from saccade.text.tokenizer import Tokenizer
from saccade.training.distributed import Group
from saccade.training.objective import NextToken, Objective
from saccade.training.r_drop import RDropNextToken
from saccade.training.streams import TextStreams
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.generator import TextGenerator, TextScore


class TextValidationConfig(ValidationSchedule):
    """When to validate a language model; its loss picks the best checkpoint and may end training early.

    The validation text is read in as many streams as a training batch has, each from an empty memory;
    `TextGenerator.score` reads it as a single stream, so its perplexity is a little lower.
    """

    @property
    def metric(self) -> str:
        """Score that decides which checkpoint is the best."""
        return "loss"


@dataclass(frozen=True)
class TextValidation(ValidationScores):
    """Scores of a language model. loss: nats per token; perplexity: per token; others: see `TextScore`."""

    word_perplexity: float
    bits_per_character: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return (
            f"loss {self.loss:.3f}  perplexity {self.perplexity:.2f} per token, "
            f"{self.word_perplexity:.2f} per word  {self.bits_per_character:.3f} bits per character"
        )


SECTIONS: dict[str, type[Section]] = {
    "data": TextConfig,
    "tokenizer": TextTokenizerConfig,
    "validation": TextValidationConfig,
    "decoding": ContinuationConfig,
}
"""The sections of the configuration that the task defines."""


class LanguageModelling(Task):
    """The task of language models."""

    use = "generate"

    def sections(self, model: Section) -> dict[str, type[Section]]:
        """See `Task.sections`."""
        return SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        training = plan.training
        if training.teacher is not None:
            raise ConfigError("training.teacher: a language model has no teacher; leave it out.")
        wrong = {
            "glancing": training.glancing is not None,
            "fine_tuning": training.fine_tuning > 0,
            "init_encoder": training.init_encoder,
        }
        for name, given in wrong.items():
            if given:
                raise ConfigError(f"training.{name}: only for non-autoregressive models; leave it out.")
        refuse_guidance(plan, "a language model")

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        if not cast(TextConfig, data).text:
            raise ConfigError("no training text: set data.text.")

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> TextReport:
        """See `Task.prepare`."""
        config, pieces = cast(TextConfig, plan.data), cast(TextTokenizerConfig, plan.tokenizer)
        report = prepare_text(config, pieces, out=out, tokenizer=cast(Tokenizer | None, tokenizer)).report
        streams = _streams(plan) * plan.training.accumulate
        if report.train.tokens < streams:
            raise ConfigError(
                f"the training text has {report.train.tokens:,} tokens, fewer than the {streams:,} streams "
                "that are read side by side (training.batch_tokens / model.segment, times "
                "training.accumulate). Lower training.batch_tokens."
            )
        return report

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        """See `Task.material`."""
        prepared, training = open_prepared_text(out), plan.training

        def data(network: LanguageModel) -> TextStreams:
            return TextStreams(
                ids=prepared.train,
                start=network.start,
                segment=cast(LanguageModelConfig, plan.model).segment,
                rows=_streams(plan),
                accumulate=training.accumulate,
                seed=training.seed,
                pad=prepared.tokenizer.pad,
                vocab_size=prepared.tokenizer.target_vocab_size,
                group=group,
            )

        check = None
        if prepared.valid is not None and prepared.report.valid is not None:
            check = partial(
                validate_text,
                ids=prepared.valid,
                size=prepared.report.valid,
                device=group.device,
                streams=_streams(plan),
            )
        report = prepared.report
        return Material(
            prepared.tokenizer, data, check, {"data": named(report.files), "tokens": report.train.tokens}
        )

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        smoothing, strength = plan.training.label_smoothing or 0.0, plan.training.r_drop
        return RDropNextToken(strength, smoothing) if strength else NextToken(smoothing)

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`."""
        return -(-cast(TextReport, report).train.tokens // plan.training.batch_tokens)

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        batches = self.batches_an_epoch(plan, report)
        return text_advice(plan, cast(TextReport, report), parameters=parameters, batches=batches)


def _streams(plan: Experiment) -> int:
    """Number of streams in a batch."""
    return max(plan.training.batch_tokens // cast(LanguageModelConfig, plan.model).segment, 1)


def validate_text(
    model: Model, *, ids: Ids, size: TextSize, device: torch.device, streams: int
) -> TextValidation:
    """Scores a model with its present weights; it is left in evaluation mode."""
    model.network.eval()
    nats = TextGenerator(model, device=device).nats(ids, streams=streams)
    score = TextScore(nats, size)
    return TextValidation(
        nats / size.tokens, score.perplexity, score.word_perplexity, score.bits_per_character
    )
