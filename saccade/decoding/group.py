"""Sentences with the same search options, whose hypotheses are advanced in one operation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, Self

import torch
from torch import Tensor

from saccade.decoding.beam import Beam
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.limits import Limits
from saccade.decoding.options import DecodingConfig
from saccade.decoding.repeats import Repeats
from saccade.decoding.sampling import Draw, Samples, uniform_draws
from saccade.decoding.trace import Candidate, Trace
from saccade.models.interface import IncrementalDecoder


class Candidates(Protocol):
    """The hypotheses of a group, an immutable value: each step makes a new one."""

    @property
    def begun(self) -> tuple[int, ...]:
        """The column of each sentence's first token."""
        ...

    @property
    def hypotheses(self) -> int:
        """Number of hypotheses of each sentence."""
        ...

    @property
    def length(self) -> int:
        """Number of columns so far: the tokens of the sentence that has been decoded longest."""
        ...

    @property
    def last(self) -> Tensor:
        """The newest token of each row."""
        ...

    @property
    def tokens(self) -> Tensor:
        """The tokens of the live hypotheses, (sentences, hypotheses, columns)."""
        ...

    @property
    def log_probs(self) -> Tensor:
        """Their log-probabilities, (sentences, hypotheses)."""
        ...

    def advance(self, log_probs: Tensor) -> tuple[Self, Tensor | None]:
        """The hypotheses with one more token, and the rows of the state they continue (None: unchanged)."""
        ...

    def candidates(self, log_probs: Tensor, sentence: int, *, least: int) -> tuple[Candidate, ...]:
        """The candidates that `advance` considers for a sentence, at least `least` of them; see `Trace`."""
        ...

    def done(self, max_length: Tensor) -> Tensor:
        """Whether each sentence is finished: (sentences,) bool; max_length (sentences,), in columns."""
        ...

    def select(self, kept: Sequence[int]) -> Self:
        """The hypotheses of the sentences `kept` alone."""
        ...

    def shifted(self, columns: int) -> Self:
        """The same hypotheses with `columns` empty columns inserted in front, or removed if negative."""
        ...

    def joined(self, other: Self) -> Self:
        """These sentences followed by those of `other`, which has equally many columns and hypotheses."""
        ...

    def results(self, sentence: int) -> list[Hypothesis]:
        """The finished hypotheses of a sentence, best first."""
        ...

    def best(self, sentence: int) -> Hypothesis:
        """The best hypothesis of a sentence so far."""
        ...


@dataclass(frozen=True)
class Sentence:
    """A sentence of a search, without its hypotheses.

    sampled: whether its hypotheses are drawn independently. unfinished: hypotheses of the greatest length
    that would have continued, and their log-probabilities.
    """

    handle: int
    nbest: int
    sampled: bool = False
    trace: Trace | None = None
    unfinished: dict[tuple[int, ...], float] = field(default_factory=dict)

    def cuts(self, found: Hypothesis) -> bool:
        """Whether the greatest length has cut a hypothesis, or a likelier one that could not be finished."""
        if self.sampled:
            return found.tokens in self.unfinished
        return max(self.unfinished.values(), default=-math.inf) >= found.log_prob


@dataclass
class Group:
    """Sentences with their hypotheses and limits, in the order of their rows.

    shared: the options that they have in common, see `DecodingConfig.shared`.
    """

    shared: tuple[object, ...]
    sentences: list[Sentence]
    candidates: Candidates
    limits: Limits
    repeats: Repeats | None = None

    @classmethod
    def start(
        cls,
        model: IncrementalDecoder,
        sentences: list[Sentence],
        *,
        options: Sequence[DecodingConfig],
        source_lengths: Tensor,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> "Group":
        """A group before its first token. options: one for each sentence, with the same `shared`."""
        limits = limits_of(model, source_lengths, options=options, prefixes=prefixes)
        candidates = _candidates(model, lines, int(limits.max_length.max()), options, source_lengths.device)
        return cls(options[0].shared, sentences, candidates, limits, _repeats(model, options[0]))

    @property
    def rows(self) -> int:
        """Number of rows: the hypotheses of all sentences."""
        return len(self.sentences) * self.candidates.hypotheses

    def advance(self, log_probs: Tensor) -> tuple[Tensor | None, list[bool] | None]:
        """Extends every hypothesis by one token; log_probs (rows, vocabulary).

        Returns the rows to continue, as `Candidates.advance` does, and which sentences are done (None: none).
        """
        # One row of hypotheses for each sentence: (sentences, hypotheses, vocabulary).
        log_probs = log_probs.view(len(self.sentences), -1, log_probs.size(-1))
        if self.repeats is not None:
            free = self.limits.free(self.candidates.length)
            log_probs = self.repeats.apply(
                log_probs, self.candidates.tokens, begun=self.candidates.begun, free=free
            )
        if self.candidates.length + 1 >= self.limits.shortest:
            self._note_unfinished(log_probs)
        log_probs = self.limits.apply(log_probs, length=self.candidates.length)
        for place, one in enumerate(self.sentences):
            if one.trace is not None:
                one.trace.steps.append(self.candidates.candidates(log_probs, place, least=one.trace.least))
        self.candidates, rows = self.candidates.advance(log_probs)
        done = self.candidates.done(self.limits.max_length)
        return rows, done.tolist() if bool(done.any()) else None

    def result(self, place: int) -> tuple[int, list[Hypothesis]]:
        """The handle and the best hypotheses of the sentence at this place."""
        one = self.sentences[place]
        return one.handle, [
            replace(found, cut=True) if one.cuts(found) else found
            for found in self.candidates.results(place)[: one.nbest]
        ]

    def _note_unfinished(self, log_probs: Tensor) -> None:
        """Notes, before the limits force them to end, which hypotheses of the greatest length would continue.

        log_probs (sentences, hypotheses, vocabulary).
        """
        last = self.limits.max_length == self.candidates.length + 1
        for place in last.nonzero().flatten().tolist():
            allowed = log_probs[place].index_fill(-1, self.limits.banned, -math.inf)
            continues = (allowed.argmax(-1) != self.limits.end).tolist()
            tokens = self.candidates.tokens[place, :, self.candidates.begun[place] :].tolist()
            totals = self.candidates.log_probs[place].tolist()
            for own, total, more in zip(tokens, totals, continues, strict=True):
                if more and math.isfinite(total):
                    self.sentences[place].unfinished[tuple(own)] = total

    def select(self, kept: Sequence[int]) -> None:
        """Keeps these sentences alone and removes the columns in which none of them has a token."""
        self.sentences = [self.sentences[place] for place in kept]
        self.candidates = self.candidates.select(kept)
        self.limits = self.limits.select(torch.tensor(kept, device=self.limits.max_length.device))
        self.shift(-min(self.candidates.begun))

    def fits(self, other: "Group") -> bool:
        """Whether the two groups can be advanced as one."""
        return self.shared == other.shared and self.candidates.hypotheses == other.candidates.hypotheses

    def join(self, other: "Group") -> None:
        """Appends the sentences of `other`."""
        ahead = self.candidates.length - other.candidates.length
        (other if ahead > 0 else self).shift(abs(ahead))
        self.sentences = self.sentences + other.sentences
        self.candidates = self.candidates.joined(other.candidates)
        self.limits = self.limits.joined(other.limits)

    def shift(self, columns: int) -> None:
        """Inserts `columns` empty columns in front, or removes them if negative."""
        if columns:
            self.candidates, self.limits = self.candidates.shifted(columns), self.limits.shifted(columns)


def _candidates(
    model: IncrementalDecoder,
    lines: Sequence[int],
    longest: int,
    options: Sequence[DecodingConfig],
    device: torch.device,
) -> Candidates:
    """The hypotheses before the first token. longest: the largest maximum length of these sentences."""
    first = options[0]
    start = partial(
        Samples.start,
        len(lines),
        end=model.vocabulary.end,
        penalty=first.length_penalty,
        alpha=first.alpha,
        device=device,
    )
    if first.sample:
        tables = [
            uniform_draws([line], samples=first.nbest, length=longest, seed=one.seed)
            for line, one in zip(lines, options, strict=True)
        ]
        draw = Draw(first.temperature, first.top_k, first.top_p)
        return start(draw=draw, uniform=torch.cat(tables).to(device))
    if first.beam == 1:
        return start()
    return Beam.start(
        len(lines),
        size=first.beam,
        end=model.vocabulary.end,
        penalty=first.length_penalty,
        alpha=first.alpha,
        early_stopping=first.early_stopping,
        device=device,
    )


def _repeats(model: IncrementalDecoder, options: DecodingConfig) -> Repeats | None:
    """The rules against repetition; None if nothing is asked for."""
    if not options.no_repeat_ngram_size and options.repetition_penalty == 1:
        return None
    vocabulary = model.vocabulary
    return Repeats(options.no_repeat_ngram_size, options.repetition_penalty, vocabulary.end, vocabulary.start)


def limits_of(
    model: IncrementalDecoder,
    source_lengths: Tensor,
    *,
    options: Sequence[DecodingConfig],
    prefixes: Sequence[Sequence[int]],
) -> Limits:
    """The limits of each sentence.

    A prefix longer than the maximum length extends it to fit one more token, within the model's own limit.
    """
    vocabulary, device = model.vocabulary, source_lengths.device
    longest = max(map(len, prefixes))
    padded = [[*prefix, *[-1] * (longest - len(prefix))] for prefix in prefixes]
    least = torch.tensor(
        [max(len(prefix), one.min_length) + 1 for prefix, one in zip(prefixes, options, strict=True)],
        device=device,
    )
    # If max_length is set, the length of the source does not count.
    ratio = torch.tensor([0.0 if one.max_length else one.max_ratio for one in options], device=device)
    extra = torch.tensor([one.max_length or one.max_extra for one in options], device=device)
    max_length = ((source_lengths * ratio).long() + extra).maximum(least)
    if model.max_target_length is not None:
        max_length = max_length.clamp(max=model.max_target_length)
    banned = sorted({vocabulary.pad, vocabulary.start, *options[0].banned} - {vocabulary.end})
    return Limits(
        max_length=max_length,
        min_length=torch.tensor([one.min_length for one in options], device=device),
        prefix=torch.tensor(padded, dtype=torch.int64, device=device).view(len(prefixes), longest),
        end=vocabulary.end,
        banned=torch.tensor(banned, dtype=torch.int64, device=device),  # perhaps none, if ids are positions
        rules=options[0].rules,
    )
