"""One token at a time with no search: the likeliest (greedy), or drawn at random."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import Penalty, length_penalty
from saccade.native.search import top


@dataclass(frozen=True)
class Draw:
    """How a token is drawn: logits divided by temperature, then cut to top_k and to top_p."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def tokens(self, log_probs: Tensor, uniform: Tensor) -> Tensor:
        """Inverse transform: log_probs (..., vocabulary), uniform (...) in [0, 1); returns ids (...)."""
        ordered, ids = log_probs.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ordered, ids = ordered[..., : self.top_k], ids[..., : self.top_k]
        probabilities = (ordered / self.temperature).softmax(-1)
        cumulative = probabilities.double().cumsum(-1)
        # Keep a token while the mass before it is below p: the likeliest one always stays.
        kept = probabilities.double().masked_fill(cumulative - probabilities >= self.top_p, 0.0)
        cumulative = kept.cumsum(-1)
        place = (cumulative <= uniform[..., None] * cumulative[..., -1:]).sum(-1, keepdim=True)
        last_possible = ((kept > 0).sum(-1, keepdim=True) - 1).clamp(min=0)
        return ids.gather(-1, place.minimum(last_possible)).squeeze(-1)


@dataclass(frozen=True)
class Samples:
    """Independent hypotheses, tokens (sentences, hypotheses, length), log_probs (sentences, hypotheses).

    draw None: always the likeliest token (greedy). uniform (sentences, hypotheses, longest): the
    random numbers, drawn beforehand for each sentence, so that batches don't change a result.
    """

    end: int
    penalty: Penalty
    alpha: float
    tokens: Tensor
    log_probs: Tensor
    ended: Tensor
    draw: Draw | None = None
    uniform: Tensor | None = None

    @classmethod
    def start(
        cls,
        sentences: int,
        *,
        end: int,
        penalty: Penalty,
        alpha: float,
        device: torch.device,
        draw: Draw | None = None,
        uniform: Tensor | None = None,
    ) -> "Samples":
        """One empty hypothesis a sentence; the first `advance` makes as many as `uniform` has."""
        return cls(
            end=end,
            penalty=penalty,
            alpha=alpha,
            tokens=torch.zeros(sentences, 1, 0, dtype=torch.int64, device=device),
            log_probs=torch.zeros(sentences, 1, device=device),
            ended=torch.zeros(sentences, 1, dtype=torch.bool, device=device),
            draw=draw,
            uniform=uniform,
        )

    @property
    def length(self) -> int:
        """Tokens so far, ended hypotheses padded with the end symbol."""
        return self.tokens.size(2)

    @property
    def last(self) -> Tensor:
        """The newest token of each hypothesis, (sentences * hypotheses,)."""
        return self.tokens[:, :, -1].flatten()

    def advance(self, log_probs: Tensor) -> tuple["Samples", Tensor | None]:
        """Extend by one token; as `Beam.advance`, with rows None where every row goes on in its place."""
        if self.draw is None or self.uniform is None:
            return self._likeliest(log_probs), None
        sentences, old, _ = log_probs.shape
        new = self.uniform.size(1)
        if new == old:
            rows, tokens, totals, ended = None, self.tokens, self.log_probs, self.ended
        else:
            rows = torch.arange(sentences, device=log_probs.device)[:, None].expand(-1, new)
            log_probs = log_probs.expand(-1, new, -1)
            tokens, totals = self.tokens.expand(-1, new, -1), self.log_probs.expand(-1, new)
            ended = self.ended.expand(-1, new)
        token = self.draw.tokens(log_probs, self.uniform[:, :, self.length])
        token = token.masked_fill(ended, self.end)
        gained = log_probs.gather(2, token[..., None]).squeeze(2).masked_fill(ended, 0.0)
        following = replace(
            self,
            tokens=torch.cat([tokens, token[..., None]], 2),
            log_probs=totals + gained,
            ended=ended | (token == self.end),
        )
        return following, rows

    def _likeliest(self, log_probs: Tensor) -> "Samples":
        """Greedy: there is one hypothesis a sentence, and none that has ended is still here."""
        gained, token = top(log_probs.flatten(0, 1), 1)
        return replace(
            self,
            tokens=torch.cat([self.tokens, token[..., None]], 2),
            log_probs=self.log_probs + gained,
            ended=token == self.end,
        )

    def done(self, max_length: Tensor) -> Tensor:
        """(sentences,) bool: all hypotheses have ended, as they must at max_length (sentences,)."""
        return self.ended.all(1) | (max_length <= self.length)

    def select(self, kept: Tensor) -> "Samples":
        """Only the sentences `kept` (n,)."""
        return replace(
            self,
            tokens=self.tokens[kept],
            log_probs=self.log_probs[kept],
            ended=self.ended[kept],
            uniform=None if self.uniform is None else self.uniform[kept],
        )

    def results(self, sentence: int) -> list[Hypothesis]:
        """The hypotheses of one sentence, best score first."""
        found = []
        rows = zip(self.tokens[sentence].tolist(), self.log_probs[sentence].tolist(), strict=True)
        for tokens, log_prob in rows:
            if not math.isfinite(log_prob):  # the rules left nothing that may be written
                continue
            text = tokens[: tokens.index(self.end)]
            score = log_prob / length_penalty(len(text) + 1, kind=self.penalty, alpha=self.alpha)
            found.append(Hypothesis(tuple(text), log_prob, score))
        return sorted(found, key=lambda one: -one.score)


def uniform_draws(lines: Sequence[int], *, samples: int, length: int, seed: int) -> Tensor:
    """Random numbers (sentences, samples, length) in [0, 1), each sentence's own by its line number."""
    tables = []
    for line in lines:
        generator = torch.Generator().manual_seed((seed * 1_000_003 + line) % (1 << 63))
        tables.append(torch.rand(length, samples, generator=generator, dtype=torch.float64).t())
    return torch.stack(tables)
