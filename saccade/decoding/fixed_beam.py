"""Beam search with tensors of fixed size that are changed in place, so that a GPU can replay a step.

It is `Beam` under `Limits`, for sentences that begin together, and gives the same results.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.limits import Limits
from saccade.decoding.options import DecodingConfig, length_penalty
from saccade.native.search import top

_NONE = -math.inf


@dataclass(frozen=True)
class FixedBeam:
    """`size` live and `size` finished hypotheses of each sentence; -inf marks an empty place.

    tokens, final_tokens (sentences, size, columns); log_probs, final_* (sentences, size); step (): number of
    columns so far; done (sentences,): whose results are final; unfinished (sentences,): the log-probability
    of the likeliest hypothesis of the greatest length that would have continued. The limits are those of
    `Limits`, each (sentences,) or (sentences, columns); allowed (vocabulary,): 0, or -inf for banned ids;
    penalties (columns + 1,): divisors by length.
    """

    step: Tensor
    tokens: Tensor
    log_probs: Tensor
    final_tokens: Tensor
    final_log_probs: Tensor
    final_scores: Tensor
    final_lengths: Tensor
    done: Tensor
    unfinished: Tensor
    max_length: Tensor
    min_length: Tensor
    forced: Tensor
    allowed: Tensor
    penalties: Tensor
    last: Tensor
    end: int
    options: DecodingConfig

    @classmethod
    def empty(
        cls, sentences: int, columns: int, *, options: DecodingConfig, limits: Limits, vocabulary: int
    ) -> "FixedBeam":
        """A beam with room for `sentences` of at most `columns` tokens, whose options agree in `shared`.

        limits: what they have in common.
        """
        device, size = limits.max_length.device, options.beam

        def filled(value: float, *shape: int) -> Tensor:
            return torch.full(shape, value, device=device)

        def counts(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        penalties = [
            length_penalty(max(length, 1), kind=options.length_penalty, alpha=options.alpha)
            for length in range(columns + 1)
        ]
        return cls(
            step=counts(),
            tokens=counts(sentences, size, columns),
            log_probs=filled(0.0, sentences, size),
            final_tokens=counts(sentences, size, columns),
            final_log_probs=filled(0.0, sentences, size),
            final_scores=filled(_NONE, sentences, size),
            final_lengths=counts(sentences, size),
            done=torch.ones(sentences, dtype=torch.bool, device=device),
            unfinished=filled(_NONE, sentences),
            max_length=counts(sentences),
            min_length=counts(sentences),
            forced=counts(sentences, columns),
            allowed=filled(0.0, vocabulary).index_fill_(0, limits.banned, _NONE),
            penalties=torch.tensor(penalties, device=device),
            last=counts(sentences * size),
            end=limits.end,
            options=options,
        )

    def tensors(self) -> list[Tensor]:
        """All tensors whose first axis is the sentences, `done` last."""
        live = [self.tokens, self.log_probs, self.max_length, self.min_length, self.forced]
        final = [self.final_tokens, self.final_log_probs, self.final_scores, self.final_lengths]
        return [*live, *final, self.unfinished, self.last.view(-1, self.options.beam), self.done]

    def fill(self, limits: Limits, *, start: int) -> None:
        """Begins with the sentences of these limits; the places of other ones are done."""
        count, columns = len(limits.max_length), self.tokens.size(2)
        self.step.zero_()
        self.log_probs.fill_(_NONE)[:, 0] = 0.0
        self.final_scores.fill_(_NONE)
        self.unfinished.fill_(_NONE)
        self.done.fill_(True)[:count] = False
        self.max_length.fill_(columns)[:count] = limits.max_length
        self.min_length.zero_()[:count] = limits.min_length
        self.forced.fill_(-1)[:count] = pad(limits.prefix, (0, columns - limits.prefix.size(1)), value=-1)
        self.last.fill_(start)

    def advance(self, log_probs: Tensor) -> Tensor:
        """Extends every hypothesis by one token, in place; log_probs (rows, vocabulary) float32.

        Returns the place of the hypothesis that each new one continues, (sentences, size).
        """
        (sentences, size), options = self.log_probs.shape, self.options
        length = self.step + 1  # (), of hypotheses after this step
        going = ~self.done
        possible = self._permitted(log_probs.view(sentences, size, -1) + self.allowed, going)
        totals = (self.log_probs[..., None] + possible).flatten(1)  # (sentences, size * vocabulary)
        best, flat = top(totals, 2 * size)
        parent, token = flat.div(possible.size(2), rounding_mode="floor"), flat % possible.size(2)
        ends = token == self.end
        penalty = self.penalties.index_select(0, length[None])  # (1,)
        self._finish(parent[:, :size], best.masked_fill(~ends, _NONE)[:, :size], penalty, going)
        live, place = _best(best.masked_fill(ends, _NONE), size)
        parent, token = parent.gather(1, place), token.gather(1, place)
        self.tokens.copy_(self._history(parent)).index_copy_(2, self.step[None], token[..., None])
        self.log_probs.copy_(live)
        self.last.copy_(token.flatten())
        worst = self.final_scores[:, -1]
        beaten = (worst > _NONE) & ((worst >= live[:, 0] / penalty) | options.early_stopping)
        self.done.logical_or_((live[:, 0] == _NONE) | (self.max_length <= length) | beaten)
        self.step.copy_(length)
        return parent

    def results(self, sentence: int) -> list[Hypothesis]:
        """The finished hypotheses of one sentence, best first. Waits for the device."""
        found = (self.final_tokens, self.final_log_probs, self.final_scores, self.final_lengths)
        rows = zip(*(tensor[sentence].tolist() for tensor in found), strict=True)
        unfinished = float(self.unfinished[sentence])
        return [
            Hypothesis(tuple(tokens[: length - 1]), log_prob, score, cut=unfinished >= log_prob)
            for tokens, log_prob, score, length in rows
            if math.isfinite(score)
        ]

    def best(self, sentence: int) -> Hypothesis:
        """The best hypothesis so far: a live one, scored at its present length, or a finished one."""
        length, log_prob = int(self.step), float(self.log_probs[sentence, 0])
        score = log_prob / float(self.penalties[length])
        live = Hypothesis(tuple(self.tokens[sentence, 0, :length].tolist()), log_prob, score)
        return max([*self.results(sentence), live], key=lambda one: one.score)

    def _permitted(self, log_probs: Tensor, going: Tensor) -> Tensor:
        """See `Limits.apply`; also notes which hypotheses of the greatest length would continue.

        log_probs (sentences, size, vocabulary), without banned ids; going (sentences,).
        """
        last = self.max_length == self.step + 1  # (sentences,)
        continues = (log_probs.argmax(-1) != self.end) & self.log_probs.isfinite()
        longest = self.log_probs.masked_fill(~continues, _NONE).amax(1)
        self.unfinished.copy_(torch.where(last & going, longest, self.unfinished))
        early = (self.min_length > self.step)[:, None]
        ending = log_probs[..., self.end]
        log_probs[..., self.end] = ending.masked_fill(early, _NONE)
        log_probs = self._only(log_probs, torch.where(last, self.end, -1))
        log_probs = self._only(log_probs, self.forced.index_select(1, self.step[None])[:, 0])
        return log_probs.log_softmax(-1) if self.options.rules == "renormalized" else log_probs

    def _only(self, log_probs: Tensor, token: Tensor) -> Tensor:
        """log_probs with -inf everywhere but at `token` (sentences,); -1 leaves a sentence as it is."""
        forced = (token >= 0)[:, None, None]
        ids = torch.arange(log_probs.size(2), device=token.device)
        chosen = ids == token[:, None, None]  # (sentences, 1, vocabulary)
        if self.options.rules != "plain":
            log_probs = log_probs.masked_fill(chosen, 0.0)
        return log_probs.masked_fill(forced & ~chosen, _NONE)

    def _history(self, parent: Tensor) -> Tensor:
        """The tokens of these hypotheses, (sentences, n, columns)."""
        return self.tokens.gather(1, parent[..., None].expand(-1, -1, self.tokens.size(2)))

    def _finish(self, parent: Tensor, log_probs: Tensor, penalty: Tensor, going: Tensor) -> None:
        """Merges candidates that end now, log_probs (sentences, size) or -inf, into the finished ones."""
        best, place = _best(torch.cat([self.final_scores, log_probs / penalty], 1), self.options.beam)
        lengths = (self.step + 1).expand_as(self.final_lengths)
        found = (
            (self.final_scores, best),
            (self.final_log_probs, torch.cat([self.final_log_probs, log_probs], 1).gather(1, place)),
            (self.final_lengths, torch.cat([self.final_lengths, lengths], 1).gather(1, place)),
        )
        for kept, new in found:
            kept.copy_(torch.where(going[:, None], new, kept))
        tokens = torch.cat([self.final_tokens, self._history(parent)], 1)
        chosen = tokens.gather(1, place[..., None].expand_as(self.final_tokens))
        self.final_tokens.copy_(torch.where(going[:, None, None], chosen, self.final_tokens))


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of scores (sentences, n) and their places, in descending order and stable."""
    ordered, place = scores.sort(dim=1, descending=True, stable=True)
    return ordered[:, :count], place[:, :count]


def may_be_fixed(options: DecodingConfig | Sequence[DecodingConfig]) -> bool:
    """Whether sentences with these options can be decoded with fixed sizes."""
    each = [options] if isinstance(options, DecodingConfig) else options
    special = any(one.sample or one.no_repeat_ngram_size or one.repetition_penalty != 1 for one in each)
    return not special and len({one.shared for one in each}) == 1
