"""Validation of translation models: loss on the validation pairs and scores of real translations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import PositiveInt

from saccade.evaluation import Tokenize, evaluate
from saccade.model_folder.checkpoint import Model
from saccade.text.batching import plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.translation import SIDES, collate_translation
from saccade.training.objective import Objective
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.translator import Translator


class ValidationConfig(ValidationSchedule):
    """When and how to validate; validation picks the best checkpoint and may end training early."""

    metric: Literal["bleu", "chrf", "loss"] = "bleu"
    """Score that decides which checkpoint is the best."""
    beam: PositiveInt = 1
    """Beam size for the scored translations; greedy search is faster and ranks checkpoints nearly as well."""
    max_sentences: PositiveInt | None = None
    """Number of sentences to translate, from the start of the validation text; unset: all."""
    tokenize: Tokenize | None = None
    """Tokeniser of sacreBLEU, "none" for tokenised text; unset: the one that fits the script of the target:
    13a, or without blanks between words zh, ja-mecab or char."""


@dataclass(frozen=True)
class ValidationData:
    """The validation pairs: encoded lines for the loss, and text for the translations."""

    lines: EncodedLines
    sources: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True)
class Validation(ValidationScores):
    """The scores of a translator. bleu, chrf: 0 to 100; exact: share of lines equal to the reference."""

    bleu: float
    chrf: float
    exact: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"loss {self.loss:.3f}  BLEU {self.bleu:.2f}  chrF {self.chrf:.2f}  exact {self.exact:.1%}"


def validate(
    model: Model,
    data: ValidationData,
    *,
    config: ValidationConfig,
    objective: Objective,
    options: Mapping[str, Any],
    device: torch.device,
    batch_tokens: int,
) -> Validation:
    """Scores a model with its present weights; it is left in evaluation mode.

    objective: the loss is its mean. options: decoding options of the scored translations.
    """
    model.network.eval()
    loss = validation_loss(model, data.lines, objective, device=device, batch_tokens=batch_tokens)
    count = config.max_sentences
    scores, _ = evaluate(
        Translator.of(model, device=device),
        data.sources[:count],
        data.references[:count],
        tokenize=config.tokenize,
        **options,
    )
    return Validation(loss, math.exp(min(loss, 100.0)), scores.bleu, scores.chrf, scores.exact)


@torch.no_grad()
def validation_loss(
    model: Model, lines: EncodedLines, objective: Objective, *, device: torch.device, batch_tokens: int
) -> float:
    """Mean of the objective in nats per target token, end symbols included."""
    lengths = [lines[side].lengths for side in SIDES]
    plan = plan_batches(*lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    vocabulary = model.network.vocabulary
    total, tokens = 0.0, 0
    for indices in plan:
        batch = collate_translation(lines, indices, start=vocabulary.start).to(device)
        total += float(objective(model.network, batch))
        tokens += batch.target_tokens
    return total / tokens
