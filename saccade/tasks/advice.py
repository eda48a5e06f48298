"""Advice before training: the size of the model, and warnings about its configuration and data."""

from collections.abc import Iterator
from typing import cast

from saccade.config import Section
from saccade.models.interface import Vocabulary
from saccade.models.outline import outline, parameters_in
from saccade.tasks.data_advice import on_languages, on_lines, on_overlaps, on_repeats, on_scores
from saccade.tasks.interface import Experiment, Report
from saccade.text.corpus import DataConfig
from saccade.text.examples import ExamplesReport
from saccade.text.language_model import TextReport
from saccade.text.report import DataReport, SideReport

_BYTES = 0.02  # share of pieces; above it a script or many characters lack pieces of their own
_UNKNOWN = 0.001
_PARAMETERS_PER_PIECE = 30  # for comparison: 7 for tiny on Multi30k, 150 for base on it, 0.5 for base on WMT
_PADDING = 0.15
_FEW_BATCHES = 20  # below it, sorting by length saves little padding
_FEW_VALID = 100
SEEN = 0.1
"""Share of examples that may also be in the training text: short sentences such as "Thanks !" repeat in any
text."""
RARE = 5
"""Number of examples of a label below which it is hardly learned."""


def model_size(config: Section, report: Report) -> int:
    """Number of parameters of the configured model, counted without allocating memory for them."""
    vocabulary = Vocabulary(
        source_size=report.source_vocab_size,
        target_size=report.target_vocab_size,
        pad=0,
        start=1,
        end=2,
        shared=report.shared_vocabulary,
    )
    return parameters_in(outline(config, vocabulary))


def text_advice(plan: Experiment, report: TextReport, *, parameters: int, batches: int) -> list[str]:
    """Warnings for a language model and its text. batches: number of batches in an epoch."""
    pieces = report.train.tokens
    return [
        *on_lines(report.repeats),
        *_on_text(report),
        *_on_size(plan, pieces, parameters),
        *on_training(plan, batches),
    ]


def masked_advice(plan: Experiment, report: TextReport, *, parameters: int, batches: int) -> list[str]:
    """Warnings for a masked language model and its text. batches: number of batches in an epoch."""
    return [
        *_on_text(report),
        *_on_size(plan, report.train.tokens, parameters),
        *on_training(plan, batches),
    ]


def examples_advice(plan: Experiment, report: ExamplesReport, *, batches: int) -> list[str]:
    """Warnings for a model that labels, and its examples. batches: number of batches in an epoch."""
    return [*_on_examples(report), *on_training(plan, batches)]


def translation_advice(plan: Experiment, report: DataReport, *, parameters: int, batches: int) -> list[str]:
    """Warnings for a translation model and its sentence pairs. batches: number of batches in an epoch."""
    return [
        *on_repeats(report),
        *on_overlaps(report),
        *on_languages(cast(DataConfig, plan.data).languages, report.languages),
        *_on_data(report),
        *_on_pieces(plan, report),
        *_on_size(plan, report.train.target.pieces, parameters),
        *on_training(plan, batches),
        *on_scores(report),
    ]


def _on_text(report: TextReport) -> Iterator[str]:
    if report.valid is None:
        yield "no validation text: the last model will count as the best. Set data.valid_text."
    elif report.valid.unknown > _UNKNOWN * report.valid.tokens:
        share = report.valid.unknown / report.valid.tokens
        yield (
            f"{share:.1%} of the validation tokens are unknown (including words written <unk> in the text). "
            "The model need not tell them apart, so perplexities are lower than they should be."
        )


def _on_examples(report: ExamplesReport) -> Iterator[str]:
    train, valid = report.train, report.valid
    if valid is None:
        yield "no validation text: the last model will count as the best. Set data.valid_text."
    elif valid.seen and valid.seen > SEEN * valid.examples:
        yield (
            f"{valid.seen:,} of {valid.examples:,} validation examples are also in the training text: scores "
            "on them are too high. Remove them from the training text, unless they are short."
        )
    if report.test_seen is not None and report.test_seen[1] > SEEN * report.test_seen[0]:
        count, seen = report.test_seen
        yield f"{seen:,} of {count:,} test examples are also in the training text: scores are too high."
    rare = [label for label, number in train.labels.items() if number < RARE]
    if rare:
        yield (
            f"labels with fewer than {RARE} training examples: {', '.join(rare[:10])}"
            f"{', ...' if len(rare) > 10 else ''}. They will hardly be learned."
        )


def _on_data(report: DataReport) -> Iterator[str]:
    if report.valid is None:
        yield (
            "no validation text: the last model will count as the best. Set data.valid_source and "
            "data.valid_target."
        )
    elif report.valid.kept < _FEW_VALID:
        yield (
            f"only {report.valid.kept} validation pairs: their scores vary by chance, and so does the choice "
            "of the best model. Set data.valid_source and data.valid_target, or raise data.holdout."
        )
    if report.padding > _PADDING and report.batches >= _FEW_BATCHES:
        yield (
            f"{report.padding:.0%} of each batch is padding. Raise training.batch_tokens, or lower "
            "data.max_length."
        )


def _on_pieces(plan: Experiment, report: DataReport) -> Iterator[str]:
    fixed = None
    if plan.training.init_from or plan.training.teacher:
        key = "init_from" if plan.training.init_from else "teacher"
        fixed = f"The vocabulary is that of training.{key}: correct the text, or train a model of its own."
    sides: dict[str, SideReport] = {"source": report.train.source, "target": report.train.target}
    for name, side in sides.items():
        if side.byte_share > _BYTES:
            yield (
                f"{side.byte_share:.1%} of the {name} pieces are bytes of characters without a piece. "
                + (fixed or "Raise tokenizer.vocab_size (or tokenizer.character_coverage).")
            )
        if side.unknown_share > _UNKNOWN:
            yield (
                f"{side.unknown_share:.1%} of the {name} pieces are unknown, and their text is lost. "
                + (fixed or "Set tokenizer.byte_fallback = true, or raise tokenizer.vocab_size.")
            )


def _on_size(plan: Experiment, pieces: int, parameters: int) -> Iterator[str]:
    learned_here = plan.training.init_from is None  # otherwise they were trained on other text
    if learned_here and parameters > _PARAMETERS_PER_PIECE * pieces:
        yield (
            f"{parameters:,} parameters are many for {pieces:,} target pieces: the model "
            "will memorise the text. Choose a smaller model.preset, raise model.dropout, or use more "
            "text."
        )


def on_training(plan: Experiment, batches: int) -> Iterator[str]:
    """Warnings about the length of training. batches: number of batches in an epoch."""
    training = plan.training
    if training.warmup >= training.steps and training.schedule != "constant":
        yield (
            f"training.warmup = {training.warmup} is not below training.steps = {training.steps}: the "
            "learning rate never reaches its peak. Lower warmup to about a tenth of the steps."
        )
    if plan.validation.every > training.steps:
        yield (
            f"validation.every = {plan.validation.every} is more than training.steps = {training.steps}: "
            "there will be one validation, at the end. Lower it."
        )
    if training.steps * training.accumulate < batches:
        yield (
            f"training.steps = {training.steps} is less than one epoch ({batches:,} batches): part of "
            "the text is never seen. Raise it."
        )
