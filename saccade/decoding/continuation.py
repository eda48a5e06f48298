"""Continuation of a text by a language model, token by token, with its memory as the cache."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.sampling import Draw, uniform_draws
from saccade.decoding.text_options import ContinuationConfig
from saccade.models.families import LanguageModel, Memory

_TOGETHER = 64
"""Samples that are written side by side."""


@torch.inference_mode()
def continue_text(
    model: LanguageModel,
    text: Tensor,
    *,
    options: ContinuationConfig,
    segment: int,
    banned: Sequence[int] = (),
) -> list[Hypothesis]:
    """The `options.samples` continuations of `text`, ids (length,) of at least one token.

    The text is read in segments, then each new token by itself. banned: ids that are never written. The score
    of a hypothesis is its log-probability under the model at temperature 1. The draws of a sample depend on
    the seed and its number alone.
    """
    hidden, memory = _read(model, text[None], segment=segment)
    draws = uniform_draws([0], samples=options.samples, length=options.tokens, seed=options.seed)[0]
    # Many samples are written in groups, because each one has a memory of its own.
    return [
        one
        for group in draws.to(text.device).split(_TOGETHER)
        for one in _continued(model, hidden, memory, group, options=options, banned=banned)
    ]


def _continued(
    model: LanguageModel,
    hidden: Tensor,
    memory: Memory,
    draws: Tensor,
    *,
    options: ContinuationConfig,
    banned: Sequence[int],
) -> list[Hypothesis]:
    """A continuation for each row of draws (samples, tokens), after the state (1, width) and memory."""
    samples, length = draws.shape
    memory = tuple(part.repeat_interleave(samples, 0) for part in memory)
    hidden = hidden.expand(samples, -1)  # (samples, width)
    written: list[Tensor] = []
    log_probs = torch.zeros(samples, dtype=torch.float64, device=draws.device)
    for place in range(length):
        scores = model.output(hidden).log_softmax(-1, dtype=torch.float32)  # (samples, vocabulary)
        token = _choose(scores, draws[:, place], options=options, banned=banned)
        log_probs += scores.gather(1, token[:, None]).squeeze(1)
        written.append(token)
        states, memory = model.read(token[:, None], memory)
        hidden = states[:, -1]
    totals = log_probs.tolist()
    return [
        Hypothesis(tuple(tokens), total, total)
        for tokens, total in zip(torch.stack(written, 1).tolist(), totals, strict=True)
    ]


def _read(model: LanguageModel, text: Tensor, *, segment: int) -> tuple[Tensor, Memory]:
    """Returns the hidden state (1, width) of the last token, and the memory after it."""
    memory = model.start(1)
    hidden = text.new_zeros(1, 1)
    for piece in text.split(segment, 1):
        states, memory = model.read(piece, memory)
        hidden = states[:, -1]
    return hidden, memory


def _choose(scores: Tensor, uniform: Tensor, *, options: ContinuationConfig, banned: Sequence[int]) -> Tensor:
    """Chooses a token for each row of scores (rows, vocabulary)."""
    allowed = scores.clone()
    allowed[:, list(banned)] = -torch.inf
    if options.temperature == 0:
        return allowed.argmax(-1)
    return Draw(options.temperature, options.top_k, options.top_p).tokens(allowed, uniform)
