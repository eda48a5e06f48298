"""Beam search as a pure value: log-probabilities in, the next beam and the rows to continue out."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import Penalty, length_penalty
from saccade.native.search import top


@dataclass(frozen=True)
class Beam:
    """`size` live and up to `size` finished hypotheses for each sentence.

    tokens (sentences, hypotheses, length), log_probs (sentences, hypotheses): live ones, best
    first; -inf marks an empty place. final_* hold finished ones in the same way, final_lengths
    counting the end symbol.
    """

    size: int
    end: int
    penalty: Penalty
    alpha: float
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
        """One empty hypothesis a sentence; early_stopping: see `DecodingConfig.early_stopping`."""
        empty = torch.zeros(sentences, 0, 0, dtype=torch.int64, device=device)
        none = torch.zeros(sentences, 0, device=device)
        live = torch.zeros(sentences, 1, 0, dtype=torch.int64, device=device)
        return cls(
            size=size,
            end=end,
            penalty=penalty,
            alpha=alpha,
            tokens=live,
            log_probs=torch.zeros(sentences, 1, device=device),
            final_tokens=empty,
            final_log_probs=none,
            final_scores=none,
            final_lengths=none.long(),
            early_stopping=early_stopping,
        )

    @property
    def length(self) -> int:
        """Tokens that every live hypothesis has."""
        return self.tokens.size(2)

    @property
    def last(self) -> Tensor:
        """The newest token of each live hypothesis, (sentences * hypotheses,)."""
        return self.tokens[:, :, -1].flatten()

    def advance(self, log_probs: Tensor) -> tuple["Beam", Tensor]:
        """Extend by one token: log_probs (sentences, hypotheses, vocabulary) of what may come next.

        Returns the next beam and `rows` (sentences, size), the flattened old hypothesis that each
        new one continues. Ending candidates count only among the `size` best, as in the usual
        algorithm: a beam of one is greedy search.
        """
        sentences, hypotheses, vocabulary = log_probs.shape
        totals = (self.log_probs[..., None] + log_probs).flatten(1)
        # At most one ending per hypothesis: 2 * size candidates leave `size` that go on.
        best, flat = top(totals, min(2 * self.size, totals.size(1)))
        parent, token = flat.div(vocabulary, rounding_mode="floor"), flat % vocabulary
        ends = token == self.end
        if bool(ends.any()):
            finished = self._finish(parent, best.masked_fill(~ends, -math.inf)[:, : self.size])
            going, place = _top(best.masked_fill(ends, -math.inf), self.size)
            parent, token = parent.gather(1, place), token.gather(1, place)
        else:  # most steps of a single sentence
            finished, going = self, best[:, : self.size]
            parent, token = parent[:, : self.size], token[:, : self.size]
        history = self.tokens.gather(1, parent[..., None].expand(-1, -1, self.length))
        rows = parent
        if sentences > 1:
            rows = parent + torch.arange(sentences, device=parent.device)[:, None] * hypotheses
        live = replace(finished, tokens=torch.cat([history, token[..., None]], 2), log_probs=going)
        return live, rows

    def done(self, max_length: Tensor) -> Tensor:
        """(sentences,) bool: no live hypothesis can still beat the worst of `size` finished ones.

        Judged at the present length, as is usual; max_length (sentences,) ends it in any case.
        """
        best = self.log_probs[:, 0]
        over = (best == -math.inf) | (max_length <= self.length)
        if self.final_scores.size(1) < self.size:
            return over
        worst = self.final_scores[:, -1]
        hope = best / length_penalty(max(self.length, 1), kind=self.penalty, alpha=self.alpha)
        # Strictly finite: empty places score -inf on both sides.
        return over | ((worst > -math.inf) & ((worst >= hope) | self.early_stopping))

    def select(self, kept: Tensor) -> "Beam":
        """Only the sentences `kept` (n,)."""
        names = ("tokens", "log_probs", "final_tokens", "final_log_probs", "final_scores", "final_lengths")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    def results(self, sentence: int) -> list[Hypothesis]:
        """The finished hypotheses of one sentence, best first."""
        rows = zip(
            self.final_tokens[sentence].tolist(),
            self.final_log_probs[sentence].tolist(),
            self.final_scores[sentence].tolist(),
            self.final_lengths[sentence].tolist(),
            strict=True,
        )
        return [
            Hypothesis(tuple(tokens[: length - 1]), log_prob, score)
            for tokens, log_prob, score, length in rows
            if math.isfinite(score)
        ]

    def _finish(self, parent: Tensor, log_probs: Tensor) -> "Beam":
        """Merge candidates that end now, log_probs (sentences, n) or -inf, into the finished."""
        if not bool((log_probs > -math.inf).any()):
            return self
        length = self.length + 1
        scores = log_probs / length_penalty(length, kind=self.penalty, alpha=self.alpha)
        old = self.final_tokens.size(1)
        merged = torch.cat([self.final_scores, scores], 1)
        best, place = _top(merged, min(self.size, merged.size(1)))
        # The candidates' tokens without the end symbol; finished ones are padded to the same length.
        history = self.tokens.gather(1, parent[:, : log_probs.size(1), None].expand(-1, -1, self.length))
        padded = torch.nn.functional.pad(self.final_tokens, (0, self.length - self.final_tokens.size(2)))
        tokens = torch.cat([padded, history], 1)
        lengths = torch.cat([self.final_lengths, torch.full_like(place[:, :1], length).expand_as(scores)], 1)
        assert lengths.size(1) == old + scores.size(1)
        return replace(
            self,
            final_tokens=tokens.gather(1, place[..., None].expand(-1, -1, self.length)),
            final_log_probs=torch.cat([self.final_log_probs, log_probs], 1).gather(1, place),
            final_scores=best,
            final_lengths=lengths.gather(1, place),
        )


def _top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of (sentences, n) in descending order, the earlier one first among equals."""
    ordered, place = scores.sort(dim=1, descending=True, stable=True)
    return ordered[:, :count], place[:, :count]
