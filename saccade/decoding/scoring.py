"""How likely an autoregressive model finds given targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saccade.config import build
from saccade.decoding.options import DecodingConfig, Penalty, length_penalty
from saccade.decoding.padding import padded
from saccade.errors import ConfigError
from saccade.models.interface import Forced, Parallel
from saccade.native.search import log_softmax_

_CHUNK_ELEMENTS = 1 << 22  # logits held at a time: 16 MB


def target_log_probs(
    model: Forced,
    source: Tensor,
    source_lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    sentences: Tensor | None = None,
) -> Tensor:
    """Log-probability in nats of each target, end symbol in and counted; float64 (targets,).

    source (batch, source), source_lengths (batch,); targets: ids of each, the end symbol last. sentences
    (targets,): the row of source that each belongs to; None: there is one for each row.
    """
    vocabulary = model.vocabulary
    gold, lengths = padded(targets, pad=vocabulary.pad, device=source.device)
    # What follows an end symbol in shorter rows is never looked at.
    shifted = torch.cat([torch.full_like(gold[:, :1], vocabulary.start), gold[:, :-1]], 1)
    memory = model.encode(source, source_lengths)
    hidden = model.decode(shifted, memory if sentences is None else memory.select(sentences))
    real = torch.arange(gold.size(1), device=source.device) < lengths[:, None]
    log_probs = torch.zeros(gold.shape, dtype=torch.float64, device=source.device)
    log_probs[real] = _token_log_probs(model, hidden[real], gold[real]).double()
    return log_probs.sum(1)


def _token_log_probs(model: Forced, hidden: Tensor, gold: Tensor) -> Tensor:
    """hidden (tokens, width), gold (tokens,); a few logits at a time."""
    rows = max(1, _CHUNK_ELEMENTS // model.output.out_features)
    found = [
        log_softmax_(model.output(part)).gather(1, answer[:, None]).squeeze(1)
        for part, answer in zip(hidden.split(rows), gold.split(rows), strict=True)
    ]
    return torch.cat(found)


@dataclass(frozen=True)
class Judge:
    """An autoregressive teacher that picks among candidates (Gu et al. 2018, section 4.1).

    It ranks them as it ranks its own hypotheses: by log-probability under its own length penalty.
    """

    model: Forced
    penalty: Penalty
    alpha: float

    @classmethod
    def of(cls, model: Forced | Parallel, decoding: Mapping[str, Any]) -> "Judge":
        """With the model's own `[decoding]`. UserError for one that writes all at once itself."""
        if isinstance(model, Parallel):
            raise ConfigError("the teacher is itself non-autoregressive; give one that writes word by word.")
        settings = build(DecodingConfig, decoding, where="decoding")
        return cls(model, settings.length_penalty, settings.alpha)

    def scores(
        self,
        source: Tensor,
        source_lengths: Tensor,
        candidates: Sequence[Sequence[int]],
        *,
        sentences: Tensor | None = None,
    ) -> list[float]:
        """A score for each candidate, ids without end symbol. sentences: see `target_log_probs`."""
        end = self.model.vocabulary.end
        targets = [[*candidate, end] for candidate in candidates]
        values = target_log_probs(self.model, source, source_lengths, targets, sentences=sentences)
        return [
            float(value) / length_penalty(len(target), kind=self.penalty, alpha=self.alpha)
            for value, target in zip(values.tolist(), targets, strict=True)
        ]
