"""Decoding without a beam: the most likely token at each step (greedy search), or one drawn at random."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import Penalty, length_penalty
from saccade.decoding.trace import Candidate, Fate
from saccade.native.search import top

# Distance between the seeds of a line's samples: the golden ratio in 32 bits, which torch's generator reads.
_APART = 0x9E3779B1


@dataclass(frozen=True)
class Draw:
    """The rule by which a token is drawn: logits divided by temperature, then cut to top_k and to top_p.

    Nothing is cut off if top_k is None or at least the size of the vocabulary, and top_p is 1.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def tokens(self, log_probs: Tensor, uniform: Tensor) -> Tensor:
        """Draws ids (...) by inverse transform; log_probs (..., vocabulary), uniform (...) in [0, 1)."""
        ordered, ids = log_probs.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ordered, ids = ordered[..., : self.top_k], ids[..., : self.top_k]
        kept = (ordered / self.temperature).softmax(-1).double()
        cumulative = kept.cumsum(-1)
        if self.top_p < 1:
            # Keep a token while the mass before it is below p, so that the most likely one always stays.
            kept = kept.masked_fill(cumulative - kept >= self.top_p, 0.0)
            cumulative = kept.cumsum(-1)
        place = (cumulative <= uniform[..., None] * cumulative[..., -1:]).sum(-1, keepdim=True)
        last_possible = ((kept > 0).sum(-1, keepdim=True) - 1).clamp(min=0)
        return ids.gather(-1, place.minimum(last_possible)).squeeze(-1)


@dataclass(frozen=True)
class Samples:
    """Independent hypotheses, tokens (sentences, hypotheses, columns), log_probs (sentences, hypotheses).

    begun: the column of each sentence's first token; a sentence that joined later has no token before it.
    draw: None always takes the most likely token (greedy search). uniform (sentences, hypotheses, columns):
    random numbers, drawn beforehand for each sentence, so that batching does not change a result.
    """

    end: int
    penalty: Penalty
    alpha: float
    begun: tuple[int, ...]
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
        """One empty hypothesis for each sentence; the first `advance` makes as many as `uniform` has."""
        return cls(
            end=end,
            penalty=penalty,
            alpha=alpha,
            begun=(0,) * sentences,
            tokens=torch.zeros(sentences, 1, 0, dtype=torch.int64, device=device),
            log_probs=torch.zeros(sentences, 1, device=device),
            ended=torch.zeros(sentences, 1, dtype=torch.bool, device=device),
            draw=draw,
            uniform=uniform,
        )

    @property
    def hypotheses(self) -> int:
        """Number of hypotheses of each sentence; one before the first step."""
        return self.tokens.size(1)

    @property
    def length(self) -> int:
        """Number of columns so far; finished hypotheses are padded with the end symbol."""
        return self.tokens.size(2)

    @property
    def last(self) -> Tensor:
        """The newest token of each hypothesis, (sentences * hypotheses,)."""
        return self.tokens[:, :, -1].flatten()

    def advance(self, log_probs: Tensor) -> tuple["Samples", Tensor | None]:
        """Extends every hypothesis by one token, as `Beam.advance`; rows are None if all stay in place."""
        if self.draw is None or self.uniform is None:
            return self._likeliest(log_probs), None
        sentences, old, _ = log_probs.shape
        new = self.uniform.size(1)
        if new == old:
            rows, tokens, totals, ended = None, self.tokens, self.log_probs, self.ended
        else:
            rows = torch.arange(sentences, device=log_probs.device)[:, None].expand(-1, new)
            log_probs = log_probs.expand(-1, new, -1)  # (sentences, hypotheses, vocabulary)
            tokens, totals = self.tokens.expand(-1, new, -1), self.log_probs.expand(-1, new)
            ended = self.ended.expand(-1, new)
        token = self.draw.tokens(log_probs, self.uniform[:, :, self.length])  # (sentences, hypotheses)
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
        """Greedy search: each sentence has one hypothesis, and finished sentences have left."""
        gained, token = top(log_probs.flatten(0, 1), 1)
        return replace(
            self,
            tokens=torch.cat([self.tokens, token[..., None]], 2),
            log_probs=self.log_probs + gained,
            ended=token == self.end,
        )

    def done(self, max_length: Tensor) -> Tensor:
        """Whether all hypotheses have ended, as they must at max_length (sentences,): (sentences,) bool."""
        return self.ended.all(1) | (max_length <= self.length)

    def candidates(self, log_probs: Tensor, sentence: int, *, least: int) -> tuple[Candidate, ...]:
        """The `least` likeliest tokens after each hypothesis, and those that `advance` takes; see `Trace`."""
        following, _ = self.advance(log_probs)
        taken = following.tokens[sentence, :, -1].tolist()
        found = []
        for parent in (~self.ended[sentence]).nonzero().flatten().tolist():
            # The first step turns one hypothesis into all samples; later each continues by itself.
            places = [parent] if self.hypotheses == len(taken) else range(len(taken))
            before, own = float(self.log_probs[sentence, parent]), log_probs[sentence, parent]
            likely = own.topk(min(least, own.numel())).indices.tolist()
            chosen: list[tuple[int, Fate, int | None]] = [
                (taken[place], "finished", None)
                if taken[place] == self.end
                else (taken[place], "kept", place)
                for place in places
            ]
            seen = {token for token, *_ in chosen}
            chosen += [(token, "dropped", None) for token in likely if token not in seen]
            for token, fate, place in chosen:
                log_prob = float(own[token])
                if log_prob > -math.inf:
                    found.append(Candidate(parent, token, log_prob, before + log_prob, fate, place))
        return tuple(sorted(found, key=lambda one: -one.total))

    def select(self, kept: Sequence[int]) -> "Samples":
        """The samples of the sentences `kept` alone."""
        index = torch.tensor(kept, device=self.tokens.device)
        return replace(
            self,
            begun=tuple(self.begun[sentence] for sentence in kept),
            tokens=self.tokens[index],
            log_probs=self.log_probs[index],
            ended=self.ended[index],
            uniform=None if self.uniform is None else self.uniform[index],
        )

    def shifted(self, columns: int) -> "Samples":
        """The same samples with `columns` empty columns inserted in front, or removed if negative."""
        return replace(
            self,
            begun=tuple(first + columns for first in self.begun),
            tokens=pad(self.tokens, (columns, 0)),
            uniform=None if self.uniform is None else pad(self.uniform, (columns, 0)),
        )

    def joined(self, other: "Samples") -> "Samples":
        """These sentences followed by those of `other`, which has equally many columns and hypotheses."""
        uniform = self.uniform
        if uniform is not None and other.uniform is not None:
            longest = max(uniform.size(2), other.uniform.size(2))
            uniform = torch.cat([pad(one, (0, longest - one.size(2))) for one in (uniform, other.uniform)])
        return replace(
            self,
            begun=self.begun + other.begun,
            tokens=torch.cat([self.tokens, other.tokens]),
            log_probs=torch.cat([self.log_probs, other.log_probs]),
            ended=torch.cat([self.ended, other.ended]),
            uniform=uniform,
        )

    def results(self, sentence: int) -> list[Hypothesis]:
        """The hypotheses of one sentence, best score first."""
        return sorted(self._hypotheses(sentence), key=lambda one: -one.score)

    def best(self, sentence: int) -> Hypothesis:
        """The best hypothesis so far, each scored at its present length."""
        return max(self._hypotheses(sentence), key=lambda one: one.score)

    def _hypotheses(self, sentence: int) -> Iterator[Hypothesis]:
        rows = zip(self.tokens[sentence].tolist(), self.log_probs[sentence].tolist(), strict=True)
        for tokens, log_prob in rows:
            if not math.isfinite(log_prob):  # the rules forbid every token
                continue
            own = tokens[self.begun[sentence] :]
            text = own[: own.index(self.end)] if self.end in own else own
            length = len(text) + (len(text) < len(own))
            score = log_prob / length_penalty(max(length, 1), kind=self.penalty, alpha=self.alpha)
            yield Hypothesis(tuple(text), log_prob, score)


def uniform_draws(lines: Sequence[int], *, samples: int, length: int, seed: int) -> Tensor:
    """Random numbers (sentences, samples, length) in [0, 1), which depend on each sentence's line number.

    A sample's numbers don't depend on how many samples there are.
    """
    generator, table = torch.Generator(), torch.empty(len(lines), samples, length, dtype=torch.float64)
    for line, rows in zip(lines, table, strict=True):
        for sample, row in enumerate(rows):
            generator.manual_seed((seed * 1_000_003 + line + sample * _APART) % (1 << 63))
            torch.rand(length, generator=generator, out=row)
    return table
