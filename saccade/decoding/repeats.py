"""Rules against repetition: n-grams that may stand once, and a penalty on tokens that were written before."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Repeats:
    """The rules of a group of sentences.

    ngram: no n-gram of this many tokens may stand twice in a translation; 0: any may. penalty: factor of the
    log-probability of a token that the translation already holds (Keskar et al. 2019, as in the beam search
    of transformers); 1: none. end: the end symbol, which is never blocked. start: the decoder's first token,
    which counts as written.
    """

    ngram: int
    penalty: float
    end: int
    start: int

    def apply(self, log_probs: Tensor, tokens: Tensor, *, begun: tuple[int, ...], free: Tensor) -> Tensor:
        """The log-probabilities (sentences, hypotheses, vocabulary) under the rules.

        tokens (sentences, hypotheses, columns): what was written; begun: the column of each sentence's first
        token; free (sentences,): False where the next token is forced, which the rules leave alone.
        """
        first = torch.tensor(begun, device=tokens.device)[:, None, None]
        own = torch.arange(tokens.size(2), device=tokens.device) >= first  # (sentences, 1, columns)
        ruled = log_probs
        if self.penalty != 1:
            ruled = self._penalised(ruled, tokens.where(own, self.start))
        if self.ngram and tokens.size(2) >= self.ngram:
            ruled = self._blocked(ruled, tokens, own)
        if ruled is log_probs or bool(free.all()):
            return ruled
        return torch.where(free[:, None, None], ruled, log_probs)

    def _penalised(self, log_probs: Tensor, written: Tensor) -> Tensor:
        """Multiplies the log-probabilities of `written` (sentences, hypotheses, columns) by the penalty."""
        start = torch.full_like(log_probs[..., :1], self.start, dtype=torch.int64)
        written = torch.cat([start, written], 2)
        return log_probs.scatter(2, written, self.penalty * log_probs.gather(2, written))

    def _blocked(self, log_probs: Tensor, tokens: Tensor, own: Tensor) -> Tensor:
        """Sets to -inf the log-probabilities of tokens that would complete an n-gram a second time."""
        before = self.ngram - 1
        grams = tokens.unfold(2, self.ngram, 1)  # (sentences, hypotheses, n-grams, n)
        last = tokens[:, :, tokens.size(2) - before :]  # (sentences, hypotheses, n - 1)
        same = (grams[..., :before] == last[:, :, None]).all(-1)
        # An n-gram whose first token stands before the sentence's beginning is none. If all of its tokens are
        # the sentence's own, so are the last n - 1, which stand behind its first one.
        real = own[..., : grams.size(2)]
        found = grams[..., before].where(same & real, self.end)
        blocked = torch.zeros_like(log_probs, dtype=torch.bool).scatter(2, found, value=True)
        blocked[..., self.end] = False
        return log_probs.masked_fill(blocked, -math.inf)
