"""What a configuration and its data report suggest before training: the size of the model, and warnings."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import cast

import torch

from saccade.config import Section
from saccade.models import build_model
from saccade.models.interface import Vocabulary
from saccade.tasks.interface import Experiment, Report
from saccade.text.corpus import DataConfig, read_aligned
from saccade.text.language_model import TextReport
from saccade.text.report import DataReport, SideReport

_BYTES = 0.02  # share of pieces; above it a script or many characters lack pieces of their own
_UNKNOWN = 0.001
_PARAMETERS_PER_PIECE = 30  # the published tiny model on Multi30k has 7, base on it 150, base on WMT 0.5
_PADDING = 0.15
_SAMPLE = 500  # lines that tell the script
_WITHOUT_BLANKS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")  # kana, and characters of Chinese and Japanese
_FEW_BATCHES = 20  # so few can hardly be sorted by length
_FEW_VALID = 100


def model_size(config: Section, report: Report) -> int:
    """Parameters of the model that this configuration and vocabulary make, without taking memory for it."""
    vocabulary = Vocabulary(
        source_size=report.source_vocab_size,
        target_size=report.target_vocab_size,
        pad=0,
        start=1,
        end=2,
        shared=report.shared_vocabulary,
    )
    with torch.device("meta"):
        network = build_model(config, vocabulary)
    return sum(parameter.numel() for parameter in network.parameters())


def text_advice(plan: Experiment, report: TextReport, *, parameters: int, batches: int) -> list[str]:
    """Warnings about running text; batches: those of an epoch."""
    pieces = report.train.tokens
    return [*_on_text(report), *_on_size(plan, pieces, parameters), *_on_training(plan, batches)]


def translation_advice(plan: Experiment, report: DataReport, *, parameters: int, batches: int) -> list[str]:
    """Warnings about pairs of sentences; batches: those of an epoch."""
    return [
        *_on_data(report),
        *_on_pieces(plan, report),
        *_on_size(plan, report.train.target.pieces, parameters),
        *_on_training(plan, batches),
        *_on_scores(plan),
    ]


def _on_text(report: TextReport) -> Iterator[str]:
    if report.valid is None:
        yield "no validation text: the last model will count as the best. Give data.valid_text."
    elif report.valid.unknown > _UNKNOWN * report.valid.tokens:
        share = report.valid.unknown / report.valid.tokens
        yield (
            f"{share:.1%} of the validation tokens are unknown (words named <unk> in the text count), and "
            "nothing is known of them: perplexities are those of a smaller text."
        )


def _on_data(report: DataReport) -> Iterator[str]:
    for name, found in report.duplicates.items():
        if found.pairs:
            yield (
                f"{found.pairs:,} of {found.checked:,} {name} pairs are also in the training text: scores on "
                "them mean nothing. Remove them from the training text."
            )
    if report.valid is None:
        yield (
            "no validation text: the last model will count as the best. Give data.valid_source and "
            "data.valid_target."
        )
    elif report.valid.kept < _FEW_VALID:
        yield (
            f"only {report.valid.kept} validation pairs: their scores vary by chance, and so does the choice "
            "of the best model. Give data.valid_source and data.valid_target, or raise data.holdout."
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
    learned_here = plan.training.init_from is None  # else they were learned from other text before
    if learned_here and parameters > _PARAMETERS_PER_PIECE * pieces:
        yield (
            f"{parameters:,} parameters are many for {pieces:,} target pieces: the model "
            "will memorise the text. Choose a smaller model.preset, raise model.dropout, or bring more "
            "text."
        )


def _on_training(plan: Experiment, batches: int) -> Iterator[str]:
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


def _on_scores(plan: Experiment) -> Iterator[str]:
    if getattr(plan.validation, "tokenize", None) is not None:
        return
    data = cast(DataConfig, plan.data)
    text = "".join(pair.texts["target"] for pair in islice(read_aligned(data.train_files), _SAMPLE))
    if len(_WITHOUT_BLANKS.findall(text)) > 0.3 * len(text):
        yield (
            "the target text is written without blanks, and BLEU would take a sentence for a word. Set "
            'validation.tokenize = "zh" (or "char"), and the same tokeniser when you evaluate the model.'
        )
