"""CTC prefix search, which finds the most likely targets summed over all their paths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from saccade.native.prefixes import prefix_beam_search

_FACTOR = 6_364_136_223_846_793_005  # multiplier of the prefix hash: odd, with bits spread over all 64


def prefix_search(
    blank: Tensor, tokens: Tensor, log_probs: Tensor, slots: Tensor, *, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The most likely targets, best first (Graves et al. 2006, section 3.2, with a beam).

    blank (sentences, slots): log-probabilities of the blank; tokens, log_probs (sentences, slots, choices):
    the most likely other tokens of each slot; slots (sentences,): number of slots. kept: number of prefixes
    that survive a slot. Returns ids (sentences, kept, slots), their number and their log-probability
    (sentences, kept), -inf if there are fewer prefixes.
    """
    found = prefix_beam_search(blank, tokens, log_probs, slots, kept=kept)
    return in_torch(blank, tokens, log_probs, slots, kept=kept) if found is None else found


def in_torch(
    blank: Tensor, tokens: Tensor, log_probs: Tensor, slots: Tensor, *, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`prefix_search` in torch, on all sentences of a batch at once."""
    sentences, longest = blank.shape
    found = _nothing_yet(sentences, kept, longest, device=blank.device)
    for slot in range(longest):
        further = _advance(found, blank[:, slot], tokens[:, slot], log_probs[:, slot])
        present = slot < slots
        found = _Prefixes(
            **{
                name: torch.where(present.view(-1, *(1,) * (value.dim() - 1)), value, getattr(found, name))
                for name, value in vars(further).items()
            }
        )
    return found.tokens, found.length, found.log_prob


@dataclass(frozen=True)
class _Prefixes:
    """The prefixes of a batch of sentences; tensors (sentences, kept), tokens (sentences, kept, longest).

    key: a hash of the tokens. blank, token: log-probability in nats of all paths so far whose last slot holds
    the blank, or the prefix's last token; -inf if there is no such path or prefix.
    """

    tokens: Tensor
    length: Tensor
    last: Tensor
    key: Tensor
    blank: Tensor
    token: Tensor

    @property
    def log_prob(self) -> Tensor:
        """Log-probability of all paths to each prefix, (sentences, kept)."""
        return torch.logaddexp(self.blank, self.token)

    def of(self, rows: Tensor) -> _Prefixes:
        """The prefixes with the indices `rows` (sentences, kept)."""
        picked = {name: value.gather(1, rows) for name, value in vars(self).items() if name != "tokens"}
        longer = rows[..., None].expand(-1, -1, self.tokens.size(-1))
        return _Prefixes(tokens=self.tokens.gather(1, longer), **picked)


def _nothing_yet(sentences: int, kept: int, longest: int, *, device: torch.device) -> _Prefixes:
    whole = torch.zeros(sentences, kept, dtype=torch.int64, device=device)
    never = torch.full(whole.shape, -torch.inf, dtype=torch.float64, device=device)
    blank = never.clone()
    blank[:, 0] = 0.0
    return _Prefixes(whole.new_zeros(sentences, kept, longest), whole, whole - 1, whole, blank, never)


def _advance(found: _Prefixes, blank: Tensor, tokens: Tensor, log_probs: Tensor) -> _Prefixes:
    """The prefixes after one more slot: blank (sentences,), tokens and log_probs (sentences, choices)."""
    kept, choices, before = found.length.size(1), tokens.size(1), found.log_prob
    ends_so = found.last[..., None] == tokens[:, None]  # (sentences, kept, choices)
    its_last = log_probs[:, None].masked_fill(~ends_so, -torch.inf).logsumexp(-1)
    # (sentences, longer, shorter): which prefix extends which by one token. Empty places may hold any key.
    grows = found.key[:, None] * _FACTOR + found.last[..., None] + 1 == found.key[..., None]
    grows &= (found.length[:, None] + 1 == found.length[..., None]) & before[..., None].isfinite()
    # A repeated token counts as a new one only after a blank.
    doubled = found.last[:, None] == found.last[..., None]
    into = torch.where(doubled, found.blank[:, None], before[:, None]).masked_fill(~grows, -torch.inf)
    stays = replace(
        found,
        blank=before + blank[:, None],
        token=torch.logaddexp(found.token, into.logsumexp(-1)) + its_last,
    )
    longer = torch.where(ends_so, found.blank[..., None], before[..., None]) + log_probs[:, None]
    counted = grows.transpose(1, 2).float() @ ends_so.float() > 0  # among those that stay
    longer = longer.masked_fill(counted, -torch.inf).flatten(1)

    best = torch.cat([stays.log_prob, longer], 1).topk(kept, dim=1).indices
    grown, choice = best >= kept, (best - kept).clamp(min=0)
    parents = stays.of(torch.where(grown, choice // choices, best))
    token = tokens.gather(1, choice % choices)
    written = parents.tokens.scatter(
        2, parents.length.clamp(max=parents.tokens.size(2) - 1)[..., None], token[..., None]
    )
    return _Prefixes(
        tokens=torch.where(grown[..., None], written, parents.tokens),
        length=parents.length + grown,
        last=torch.where(grown, token, parents.last),
        key=torch.where(grown, parents.key * _FACTOR + token + 1, parents.key),
        blank=parents.blank.masked_fill(grown, -torch.inf),
        token=torch.where(grown, longer.gather(1, choice), parents.token),
    )
