"""Validation while training: loss on the validation pairs and scores of real translations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from pydantic import PositiveInt

from saccade.checkpoint import Model
from saccade.config import Section
from saccade.evaluation import Tokenize, evaluate
from saccade.models.interface import Parallel
from saccade.text.batching import plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.translation import SIDES, collate_translation
from saccade.training.objective import objective_of
from saccade.translator import Translator

# Whatever the finished model is to do by default, checkpoints are ranked by their best translations.
_PLAIN_SEARCH: dict[str, Any] = {"nbest": 1, "sample": False, "temperature": 1.0, "top_k": None, "top_p": 1.0}


class Schedule(Protocol):
    """When to validate, and what makes a checkpoint the best: all that the loop knows of `[validation]`."""

    @property
    def every(self) -> int:
        """Updates between validations."""
        ...

    @property
    def patience(self) -> int | None:
        """Validations without a better one before training stops; None: never."""
        ...

    @property
    def metric(self) -> str:
        """The name of what ranks checkpoints."""
        ...


class ValidationSchedule(Section):
    """Base of every task's `[validation]`."""

    every: PositiveInt = 1000
    """Updates between validations."""
    patience: PositiveInt | None = None
    """Stop after this many validations without a new best; unset: train all steps."""


class ValidationConfig(ValidationSchedule):
    """When and how to validate; validation picks the best checkpoint and may end training early."""

    metric: Literal["bleu", "chrf", "loss"] = "bleu"
    """What makes a checkpoint the best."""
    beam: PositiveInt = 1
    """Beam of the translations that are scored; greedy ranks checkpoints nearly as well and is faster."""
    max_sentences: PositiveInt | None = None
    """Number of validation sentences to translate, the first ones; unset: all."""
    tokenize: Tokenize | None = None
    """sacreBLEU's tokeniser: unset for 13a, "zh" for Chinese, "none" for tokenised text."""


@dataclass(frozen=True)
class ValidationData:
    """Encoded lines for the loss, text for the translations."""

    lines: EncodedLines
    sources: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True)
class ValidationScores:
    """Base of what validation finds. loss: nats a token without smoothing; perplexity: its exponential."""

    loss: float
    perplexity: float

    def line(self) -> str:
        """For the user."""
        return f"loss {self.loss:.3f}"

    def value(self, metric: str) -> float:
        """The chosen metric, turned so that more is better."""
        value: float = getattr(self, metric)
        return -value if metric == "loss" else value


@dataclass(frozen=True)
class Validation(ValidationScores):
    """The scores of a translator. bleu, chrf: 0 to 100; exact: share of perfect lines."""

    bleu: float
    chrf: float
    exact: float

    def line(self) -> str:
        """For the user."""
        return f"loss {self.loss:.3f}  BLEU {self.bleu:.2f}  chrF {self.chrf:.2f}  exact {self.exact:.1%}"


def validate(
    model: Model, data: ValidationData, *, config: ValidationConfig, device: torch.device, batch_tokens: int
) -> Validation:
    """Score a model as it stands; leaves it in evaluation mode."""
    model.module.eval()
    loss = validation_loss(model, data.lines, device=device, batch_tokens=batch_tokens)
    count = config.max_sentences
    translator = Translator(model, device=device)
    scores, _ = evaluate(
        translator,
        data.sources[:count],
        data.references[:count],
        tokenize=config.tokenize,
        **_plain(translator, beam=config.beam),
    )
    return Validation(loss, math.exp(min(loss, 100.0)), scores.bleu, scores.chrf, scores.exact)


def _plain(translator: Translator, *, beam: int) -> dict[str, Any]:
    """Settings of one plain search; without a search, of one candidate a sentence, which needs no teacher."""
    if isinstance(translator.model.network, Parallel):
        return {"candidates": 1}
    return {"beam": beam, **_PLAIN_SEARCH}


@torch.no_grad()
def validation_loss(model: Model, lines: EncodedLines, *, device: torch.device, batch_tokens: int) -> float:
    """Mean of what is minimised, without smoothing, in nats a target token, end symbol counted."""
    lengths = [lines[side].lengths for side in SIDES]
    plan = plan_batches(*lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    vocabulary = model.network.vocabulary
    objective = objective_of(model.network, label_smoothing=0.0)
    total, tokens = 0.0, 0
    for indices in plan:
        batch = collate_translation(lines, indices, start=vocabulary.start).to(device)
        total += float(objective(model.network, batch))
        tokens += batch.target_tokens
    return total / tokens
