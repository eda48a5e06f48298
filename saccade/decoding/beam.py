"""Beam search as an immutable value: log-probabilities give the next beam and the rows it continues."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import Penalty, length_penalty
from saccade.decoding.trace import Candidate, Fate
from saccade.native.search import top


@dataclass(frozen=True)
class Beam:
    """`size` live and up to `size` finished hypotheses for each sentence.

    tokens (sentences, hypotheses, columns), log_probs (sentences, hypotheses): live ones, best first; -inf
    marks an empty place. final_* hold finished ones in the same way; final_lengths count the end symbol.
    begun: the column of each sentence's first token; a sentence that joined later has no token before it.
    """

    size: int
    end: int
    penalty: Penalty
    alpha: float
    begun: tuple[int, ...]
    tokens: Tensor
    log_probs: Tensor
    final_tokens: Tensor
    final_log_probs: Tensor
    final_scores: Tensor
    final_lengths: Tensor
    early_stopping: bool = False

    @classmethod
    def start(
        cls,
        sentences: int,
        *,
        size: int,
        end: int,
        penalty: Penalty,
        alpha: float,
        device: torch.device,
        early_stopping: bool = False,
    ) -> "Beam":
        """One empty hypothesis for each sentence; early_stopping: see `DecodingConfig.early_stopping`."""
        empty = torch.zeros(sentences, 0, 0, dtype=torch.int64, device=device)
        none = torch.zeros(sentences, 0, device=device)
        live = torch.zeros(sentences, 1, 0, dtype=torch.int64, device=device)
        return cls(
            size=size,
            end=end,
            penalty=penalty,
            alpha=alpha,
            begun=(0,) * sentences,
            tokens=live,
            log_probs=torch.zeros(sentences, 1, device=device),
            final_tokens=empty,
            final_log_probs=none,
            final_scores=none,
            final_lengths=none.long(),
            early_stopping=early_stopping,
        )

    @property
    def hypotheses(self) -> int:
        """Number of live hypotheses of each sentence: one before the first step, then `size`."""
        return self.tokens.size(1)

    @property
    def length(self) -> int:
        """Number of columns so far: the tokens of the sentence that has been decoded longest."""
        return self.tokens.size(2)

    @property
    def last(self) -> Tensor:
        """The newest token of each live hypothesis, (sentences * hypotheses,)."""
        return self.tokens[:, :, -1].flatten()

    def advance(self, log_probs: Tensor) -> tuple["Beam", Tensor]:
        """Extends every hypothesis by one token; log_probs (sentences, hypotheses, vocabulary).

        Returns the next beam and `rows` (sentences, size), the flattened index of the old hypothesis that
        each new one continues. A candidate may end only if it is among the `size` best, as in the usual
        algorithm, so that a beam of one is greedy search.
        """
        # Each hypothesis ends at most once, so of 2 * size candidates at least `size` continue.
        best, parent, token = self.considered(log_probs, 2 * self.size)
        ends = token == self.end
        if bool(ends.any()):
            finished = self._finish(parent, best.masked_fill(~ends, -math.inf)[:, : self.size])
            going, place = _top(best.masked_fill(ends, -math.inf), self.size)
            parent, token = parent.gather(1, place), token.gather(1, place)
        else:  # most steps of a single sentence
            finished, going = self, best[:, : self.size]
            parent, token = parent[:, : self.size], token[:, : self.size]
        history = self.tokens.gather(1, parent[..., None].expand(-1, -1, self.length))
        rows, (sentences, hypotheses) = parent, log_probs.shape[:2]
        if sentences > 1:
            rows = parent + torch.arange(sentences, device=parent.device)[:, None] * hypotheses
        live = replace(finished, tokens=torch.cat([history, token[..., None]], 2), log_probs=going)
        return live, rows

    def candidates(self, log_probs: Tensor, sentence: int, *, least: int) -> tuple[Candidate, ...]:
        """The candidates that `advance` considers for the same log_probs, and near misses; see `Trace`."""
        own = replace(self, log_probs=self.log_probs[sentence : sentence + 1])
        log_probs = log_probs[sentence : sentence + 1]
        count = max(2 * self.size, least)
        totals, parents, tokens = (values[0].tolist() for values in own.considered(log_probs, count))
        found, places = [], 0
        for rank, (total, parent, token) in enumerate(zip(totals, parents, tokens, strict=True)):
            fate: Fate = "dropped"
            if token == self.end:
                fate = "finished" if rank < self.size else "dropped"
            elif rank < 2 * self.size and places < self.size:
                fate = "kept"
            if total > -math.inf:
                own_log_prob = float(log_probs[0, parent, token])
                place = places if fate == "kept" else None
                found.append(Candidate(parent, token, own_log_prob, total, fate, place))
            places += fate == "kept"
        return tuple(found)

    def done(self, max_length: Tensor) -> Tensor:
        """Whether no live hypothesis can still beat the worst of `size` finished ones: (sentences,) bool.

        Live hypotheses are scored at their present length, as is usual. A sentence also ends at max_length
        (sentences,), in columns.
        """
        best = self.log_probs[:, 0]
        over = (best == -math.inf) | (max_length <= self.length)
        if self.final_scores.size(1) < self.size:
            return over
        worst = self.final_scores[:, -1]
        hope = best / self._penalty(self.length)
        # `worst` must be finite: empty places score -inf on both sides.
        return over | ((worst > -math.inf) & ((worst >= hope) | self.early_stopping))

    def select(self, kept: Sequence[int]) -> "Beam":
        """A beam with the sentences `kept` alone."""
        index = torch.tensor(kept, device=self.tokens.device)
        changes: dict[str, Any] = {name: getattr(self, name)[index] for name in (*_LIVE, *_FINAL)}
        return replace(self, begun=tuple(self.begun[sentence] for sentence in kept), **changes)

    def shifted(self, columns: int) -> "Beam":
        """The same beam with `columns` empty columns inserted in front, or removed if negative."""
        return replace(
            self,
            begun=tuple(first + columns for first in self.begun),
            tokens=pad(self.tokens, (columns, 0)),
            final_tokens=pad(self.final_tokens, (max(columns, -self.final_tokens.size(2)), 0)),
        )

    def joined(self, other: "Beam") -> "Beam":
        """A beam with the sentences of `other` appended; both have as many columns and live hypotheses."""
        places = max(self.final_scores.size(1), other.final_scores.size(1))
        both = [_with_final(beam, places) for beam in (self, other)]
        changes: dict[str, Any] = {
            name: torch.cat([getattr(beam, name) for beam in both]) for name in (*_LIVE, *_FINAL)
        }
        return replace(self, begun=self.begun + other.begun, **changes)

    def results(self, sentence: int) -> list[Hypothesis]:
        """The finished hypotheses of one sentence, best first."""
        rows = zip(
            self.final_tokens[sentence].tolist(),
            self.final_log_probs[sentence].tolist(),
            self.final_scores[sentence].tolist(),
            self.final_lengths[sentence].tolist(),
            strict=True,
        )
        first = self.begun[sentence]
        return [
            Hypothesis(tuple(tokens[first : first + length - 1]), log_prob, score)
            for tokens, log_prob, score, length in rows
            if math.isfinite(score)
        ]

    def best(self, sentence: int) -> Hypothesis:
        """The best hypothesis so far: a live one, scored at its present length, or a finished one."""
        first, log_prob = self.begun[sentence], float(self.log_probs[sentence, 0])
        penalty = length_penalty(max(self.length - first, 1), kind=self.penalty, alpha=self.alpha)
        tokens = self.tokens[sentence, 0, first:].tolist()
        live = Hypothesis(tuple(tokens), log_prob, log_prob / penalty)
        return max([*self.results(sentence), live], key=lambda one: one.score)

    def considered(self, log_probs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The `count` best extensions: log-probabilities, parents and tokens, all (sentences, count)."""
        sentences, _, vocabulary = log_probs.shape
        # No more than `count` extensions of one hypothesis can be among the best of a sentence.
        own, token = top(log_probs.flatten(0, 1), min(count, vocabulary))  # (rows, extensions)
        totals = (self.log_probs.flatten()[:, None] + own).view(sentences, -1)
        best, place = top(totals, min(count, totals.size(1)))
        parent = place.div(own.size(1), rounding_mode="floor")
        return best, parent, token.view(sentences, -1).gather(1, place)

    def _penalty(self, columns: int) -> float | Tensor:
        """The divisor of log-probabilities at this number of columns: one for all, or (sentences,)."""
        together = self.begun.count(self.begun[0]) == len(self.begun)
        each = [
            length_penalty(max(columns - first, 1), kind=self.penalty, alpha=self.alpha)
            for first in (self.begun[:1] if together else self.begun)
        ]
        return each[0] if together else torch.tensor(each, device=self.tokens.device)

    def _finish(self, parent: Tensor, log_probs: Tensor) -> "Beam":
        """Merges candidates that end now, log_probs (sentences, n) or -inf, into the finished hypotheses."""
        if not bool((log_probs > -math.inf).any()):
            return self
        length = self.length + 1
        penalty = self._penalty(length)
        scores = log_probs / (penalty if isinstance(penalty, float) else penalty[:, None])
        merged = torch.cat([self.final_scores, scores], 1)  # (sentences, finished + n)
        best, place = _top(merged, min(self.size, merged.size(1)))
        # The candidates' tokens without the end symbol; finished ones are padded to the same length.
        parent = parent[:, : log_probs.size(1)]
        history = self.tokens.gather(1, parent[..., None].expand(-1, -1, self.length))
        padded = pad(self.final_tokens, (0, self.length - self.final_tokens.size(2)))
        tokens = torch.cat([padded, history], 1)
        own = torch.tensor([[length - first] for first in self.begun], device=parent.device)
        lengths = torch.cat([self.final_lengths, own.expand_as(parent)], 1)
        return replace(
            self,
            final_tokens=tokens.gather(1, place[..., None].expand(-1, -1, self.length)),
            final_log_probs=torch.cat([self.final_log_probs, log_probs], 1).gather(1, place),
            final_scores=best,
            final_lengths=lengths.gather(1, place),
        )


_LIVE = ("tokens", "log_probs")
_FINAL = ("final_tokens", "final_log_probs", "final_scores", "final_lengths")


def _top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of scores (sentences, n) and their places, in descending order and stable."""
    ordered, place = scores.sort(dim=1, descending=True, stable=True)
    return ordered[:, :count], place[:, :count]


def _with_final(beam: Beam, places: int) -> Beam:
    """The beam with room for `places` finished hypotheses of full length."""
    more = places - beam.final_scores.size(1)
    columns = beam.length - beam.final_tokens.size(2)
    return replace(
        beam,
        final_tokens=pad(beam.final_tokens, (0, columns, 0, more)),
        final_log_probs=pad(beam.final_log_probs, (0, more), value=-math.inf),
        final_scores=pad(beam.final_scores, (0, more), value=-math.inf),
        final_lengths=pad(beam.final_lengths, (0, more)),
    )
