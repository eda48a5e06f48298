"""Continuation of a text by a language model, token by token, with its memory as the cache."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.sampling import Draw, uniform_draws
from saccade.decoding.text_options import ContinuationConfig
from saccade.models.families import LanguageModel, Memory


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
    of a hypothesis is its log-probability under the model at temperature 1.
    """
    hidden, memory = _read(model, text[None], segment=segment)
    memory = tuple(part.repeat_interleave(options.samples, 0) for part in memory)
    hidden = hidden.expand(options.samples, -1)  # (samples, width)
    draws = uniform_draws([0], samples=options.samples, length=options.tokens, seed=options.seed)[0]
    draws = draws.to(text.device)
    written: list[Tensor] = []
    log_probs = torch.zeros(options.samples, dtype=torch.float64, device=text.device)
    for place in range(options.tokens):
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
