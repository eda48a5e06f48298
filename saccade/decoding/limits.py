"""Rules on the next token: minimum and maximum lengths, forced prefixes and banned tokens."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.decoding.options import Rules


@dataclass(frozen=True)
class Limits:
    """The limits of a group of sentences.

    max_length (sentences,): longest target, end symbol included. min_length (sentences,): fewest tokens
    before the end symbol. prefix (sentences, longest): forced ids, padded with -1. Lengths are counted in
    columns: those of a sentence that joined when the others had n tokens are greater by n, and n columns
    stand before its prefix. banned: ids never written (padding, start). rules: see `DecodingConfig.rules`.
    """

    max_length: Tensor
    min_length: Tensor
    prefix: Tensor
    end: int
    banned: Tensor
    rules: Rules = "plain"

    @cached_property
    def shortest(self) -> int:
        """Least maximum length: no earlier step has to check max_length."""
        return int(self.max_length.min())

    @cached_property
    def _free(self) -> int:
        """Greatest minimum length: from here on no step has to check min_length."""
        return int(self.min_length.max())

    def select(self, kept: Tensor) -> "Limits":
        """The limits of the sentences `kept` alone."""
        return replace(
            self,
            max_length=self.max_length[kept],
            min_length=self.min_length[kept],
            prefix=self.prefix[kept],
        )

    def shifted(self, columns: int) -> "Limits":
        """The same limits with `columns` columns inserted in front, or removed if negative."""
        longest = self.prefix.size(1)
        return replace(
            self,
            max_length=self.max_length + columns,
            min_length=self.min_length + columns,
            prefix=pad(self.prefix, (max(columns, -longest) if longest else 0, 0), value=-1),
        )

    def joined(self, other: "Limits") -> "Limits":
        """These limits followed by those of `other`, both counted in the same columns."""
        longest = max(self.prefix.size(1), other.prefix.size(1))
        prefixes = [pad(one.prefix, (0, longest - one.prefix.size(1)), value=-1) for one in (self, other)]
        return replace(
            self,
            max_length=torch.cat([self.max_length, other.max_length]),
            min_length=torch.cat([self.min_length, other.min_length]),
            prefix=torch.cat(prefixes),
        )

    def free(self, length: int) -> Tensor:
        """Whether the token of column number `length` is not forced by a prefix: (sentences,) bool."""
        if length >= self.prefix.size(1):
            return torch.ones_like(self.max_length, dtype=torch.bool)
        return self.prefix[:, length] < 0

    def apply(self, log_probs: Tensor, *, length: int) -> Tensor:
        """Sets the log-probability of tokens that may not stand in column number `length` to -inf, in place.

        log_probs (sentences, hypotheses, vocabulary). Under plain rules the other tokens keep their
        log-probabilities, so that a returned score is the model's score of the whole target.
        """
        log_probs.index_fill_(2, self.banned, -math.inf)
        if length < self._free:
            log_probs[self.min_length > length, :, self.end] = -math.inf
        if length + 1 >= self.shortest:
            last = self.max_length == length + 1
            log_probs[last] = self._only(log_probs[last], torch.full_like(self.max_length[last], self.end))
        if length < self.prefix.size(1) and bool((forced := self.prefix[:, length] >= 0).any()):
            log_probs[forced] = self._only(log_probs[forced], self.prefix[forced, length])
        return log_probs.log_softmax(-1) if self.rules == "renormalized" else log_probs

    def on(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Where given targets are forced, and where they may not end yet: (sentences, longest) bool each.

        targets (sentences, longest): ids, padded. A token that differs from the forced one is not forced.
        """
        longest = targets.size(1)
        columns = torch.arange(longest, device=targets.device)
        prefix = pad(self.prefix[:, :longest], (0, max(longest - self.prefix.size(1), 0)), value=-1)
        last = (columns + 1 == self.max_length[:, None]) & (targets == self.end)
        return (targets == prefix) | last, columns < self.min_length[:, None]

    def _only(self, log_probs: Tensor, token: Tensor) -> Tensor:
        """log_probs (sentences, hypotheses, vocabulary) with -inf everywhere but at `token` (sentences,)."""
        index = token[:, None, None].expand(-1, log_probs.size(1), 1)
        own = (
            log_probs.gather(2, index)
            if self.rules == "plain"
            else torch.zeros_like(index, dtype=log_probs.dtype)
        )
        return torch.full_like(log_probs, -math.inf).scatter_(2, index, own)
