"""A linear-chain conditional random field over the labels of a sequence (Lafferty et al. 2001).

The score of a label sequence y is sum_t emission[t, y_t] + sum_t transition[y_t, y_(t+1)], plus a start score
for y_1 and an end score for y_n. Its probability is exp(score - log Z), where log Z is the logarithm of the
sum of exp(score) over all label sequences of that length.
"""

import torch
from torch import Tensor, nn


class Crf(nn.Module):
    """The transitions of a conditional random field, and what is computed with them.

    Emissions are (batch, length, labels), lengths (batch,) at least 1; what stands behind a sequence's end is
    not looked at. Everything is computed in float32 or wider, because sums of many scores lose their
    differences in 16 bits.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(labels, labels))
        self.starts = nn.Parameter(torch.zeros(labels))
        self.ends = nn.Parameter(torch.zeros(labels))

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """log Z (batch,), by the forward algorithm."""
        emissions = _wide(emissions)
        total = self.starts + emissions[:, 0]  # (batch, labels): log-sum over all ways to reach a label
        for place in range(1, emissions.size(1)):
            ways = total[:, :, None] + self.transitions  # (batch, before, label)
            reached = ways.logsumexp(1) + emissions[:, place]
            total = torch.where((place < lengths)[:, None], reached, total)
        return (total + self.ends).logsumexp(-1)

    def log_marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The log-probability (batch, length, labels) of each label at each place, whatever the others are.

        By the forward and the backward algorithm; anything stands behind a sequence's end.
        """
        emissions = _wide(emissions)
        length = emissions.size(1)
        before = [self.starts + emissions[:, 0]]  # (batch, labels): up to the label, its emission included
        for place in range(1, length):
            ways = before[-1][:, :, None] + self.transitions
            before.append(ways.logsumexp(1) + emissions[:, place])
        after = [self.ends.expand_as(before[0])]  # (batch, labels): behind the label
        for place in range(length - 1, 0, -1):
            ways = self.transitions + (emissions[:, place] + after[-1])[:, None]  # (batch, label, next)
            after.append(torch.where((place < lengths)[:, None], ways.logsumexp(2), after[-1]))
        joint = torch.stack(before, 1) + torch.stack(after[::-1], 1)
        return joint - self.log_partition(emissions, lengths)[:, None, None]

    def score(self, emissions: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """The score (batch,) of label sequences (batch, length); any label may stand at padding."""
        emissions = _wide(emissions)
        places = torch.arange(emissions.size(1), device=emissions.device)
        real = places < lengths[:, None]  # (batch, length)
        own = emissions.gather(2, labels[..., None])[..., 0].masked_fill(~real, 0.0)
        steps = self.transitions[labels[:, :-1], labels[:, 1:]].masked_fill(~real[:, 1:], 0.0)
        last = labels.gather(1, lengths[:, None] - 1)[:, 0]
        return own.sum(1) + steps.sum(1) + self.starts[labels[:, 0]] + self.ends[last]

    def best(self, emissions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable labels (batch, length), 0 at padding, and their score (batch,) (Viterbi 1967)."""
        emissions = _wide(emissions)
        best = self.starts + emissions[:, 0]  # (batch, labels)
        whence = []
        for place in range(1, emissions.size(1)):
            reached, before = (best[:, :, None] + self.transitions).max(1)  # each (batch, labels)
            inside = (place < lengths)[:, None]
            best = torch.where(inside, reached + emissions[:, place], best)
            whence.append(torch.where(inside, before, torch.arange(best.size(1), device=best.device)))
        score, label = (best + self.ends).max(-1)
        labels = [label]
        for before in reversed(whence):  # behind a sequence's end, a label comes from itself
            label = before.gather(1, label[:, None])[:, 0]
            labels.append(label)
        path = torch.stack(labels[::-1], 1)  # (batch, length)
        real = torch.arange(path.size(1), device=path.device) < lengths[:, None]
        return path.masked_fill(~real, 0), score


def _wide(emissions: Tensor) -> Tensor:
    return emissions.to(torch.promote_types(emissions.dtype, torch.float32))
