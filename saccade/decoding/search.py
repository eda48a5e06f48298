"""The one search loop: a model's `step` and `State` on one side, a `Beam` or `Samples` on the other."""

from collections.abc import Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from saccade.decoding.beam import Beam
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.limits import Limits
from saccade.decoding.options import DecodingConfig
from saccade.decoding.sampling import Draw, Samples, uniform_draws
from saccade.models.interface import IncrementalDecoder
from saccade.native.search import log_softmax_


class Candidates(Protocol):
    """What the loop drives; the shapes are told where `Beam` has these verbs."""

    @property
    def length(self) -> int:
        """Tokens written so far."""
        ...

    @property
    def last(self) -> Tensor:
        """The token written last in each row."""
        ...

    def advance(self, log_probs: Tensor) -> tuple[Self, Tensor | None]:
        """One token further; and the rows of the state to go on from, None where they stay."""
        ...

    def done(self, max_length: Tensor) -> Tensor:
        """Which sentences are finished."""
        ...

    def select(self, kept: Tensor) -> Self:
        """These sentences alone."""
        ...

    def results(self, sentence: int) -> list[Hypothesis]:
        """What was found for a sentence, best first."""
        ...


@torch.inference_mode()
def search(
    model: IncrementalDecoder,
    source: Tensor,
    source_lengths: Tensor,
    *,
    options: DecodingConfig,
    lines: Sequence[int] | None = None,
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Decode a batch: source (sentences, source) ids padded on the right, source_lengths (sentences,).

    lines: line number of each sentence, which seeds its sampling; prefixes: target ids that each
    result must start with. Returns up to `options.nbest` hypotheses for each sentence, best first,
    in the order given. Finished sentences leave the batch.
    """
    sentences, device = source.size(0), source.device
    limits = _limits(model, source_lengths, options=options, prefixes=prefixes or [()] * sentences)
    longest = int(limits.max_length.max())
    lines = range(sentences) if lines is None else lines
    candidates = _candidates(model, lines, longest, options=options, device=device)
    state = model.start(model.encode(source, source_lengths), longest)
    present = list(range(sentences))
    found: list[list[Hypothesis]] = [[] for _ in present]
    token = torch.full((sentences,), model.vocabulary.start, device=device)
    while present:
        logits, state = model.step(token, state)
        log_probs = log_softmax_(logits).view(len(present), -1, logits.size(-1))
        candidates, rows = candidates.advance(limits.apply(log_probs, length=candidates.length))
        done = candidates.done(limits.max_length)
        if bool(done.any()):
            for sentence in done.nonzero().flatten().tolist():
                found[present[sentence]] = candidates.results(sentence)[: options.nbest]
            kept = (~done).nonzero().flatten()
            if rows is None:
                rows = torch.arange(done.numel() * log_probs.size(1), device=device).view(done.numel(), -1)
            candidates, limits, rows = candidates.select(kept), limits.select(kept), rows[kept]
            present = [present[sentence] for sentence in kept.tolist()]
        if present:
            if rows is not None:
                state = state.select(rows)
            token = candidates.last
    return found


def _candidates(
    model: IncrementalDecoder,
    lines: Sequence[int],
    longest: int,
    *,
    options: DecodingConfig,
    device: torch.device,
) -> Candidates:
    end, sentences = model.vocabulary.end, len(lines)
    if options.sample:
        draw = Draw(options.temperature, options.top_k, options.top_p)
        uniform = uniform_draws(lines, samples=options.nbest, length=longest, seed=options.seed).to(device)
        return Samples.start(
            sentences,
            end=end,
            penalty=options.length_penalty,
            alpha=options.alpha,
            device=device,
            draw=draw,
            uniform=uniform,
        )
    if options.beam == 1:
        return Samples.start(
            sentences, end=end, penalty=options.length_penalty, alpha=options.alpha, device=device
        )
    return Beam.start(
        sentences,
        size=options.beam,
        end=end,
        penalty=options.length_penalty,
        alpha=options.alpha,
        early_stopping=options.early_stopping,
        device=device,
    )


def _limits(
    model: IncrementalDecoder,
    source_lengths: Tensor,
    *,
    options: DecodingConfig,
    prefixes: Sequence[Sequence[int]],
) -> Limits:
    """A forced prefix makes room for itself and one more token, but not beyond the model's own limit."""
    vocabulary, device = model.vocabulary, source_lengths.device
    longest = max((len(prefix) for prefix in prefixes), default=0)
    padded = [[*prefix, *[-1] * (longest - len(prefix))] for prefix in prefixes]
    prefix = torch.tensor(padded, dtype=torch.int64, device=device).view(len(prefixes), longest)
    if options.max_length is None:
        max_length = (source_lengths * options.max_ratio).long() + options.max_extra
    else:
        max_length = torch.full_like(source_lengths, options.max_length)
    max_length = max_length.maximum((prefix >= 0).sum(1) + 1).clamp(min=options.min_length + 1)
    if model.max_target_length is not None:
        max_length = max_length.clamp(max=model.max_target_length)
    never = sorted({vocabulary.pad, vocabulary.start, *options.banned} - {vocabulary.end})
    return Limits(
        max_length=max_length,
        prefix=prefix,
        end=vocabulary.end,
        banned=torch.tensor(never, device=device),
        min_length=options.min_length,
        rules=options.rules,
    )
