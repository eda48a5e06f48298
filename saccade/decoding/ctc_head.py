"""Texts from CTC logits over an encoder's positions: the likeliest path, or a search over prefixes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.nonautoregressive.ctc import collapse
from saccade.decoding.nonautoregressive.prefix_search import prefix_search


def ctc_hypotheses(
    logits: Tensor, lengths: Tensor, *, blank: int, never: Sequence[int], beam: int
) -> list[list[Hypothesis]]:
    """Up to `beam` hypotheses for each row of logits (rows, positions, vocabulary), the best first.

    lengths (rows,): number of real positions. never: ids that are not written. With a beam of 1 the log_prob
    is that of the likeliest path; otherwise that of the paths which the search over prefixes followed.
    """
    log_probs = logits.float().log_softmax(-1)
    log_probs[..., list(never)] = -torch.inf
    if beam == 1:
        values, ids = log_probs.max(-1)  # (rows, positions)
        found = []
        for row, length in enumerate(lengths.tolist()):
            path, total = ids[row, :length].tolist(), float(values[row, :length].sum())
            found.append([Hypothesis(tuple(collapse(path, blank=blank)), total, total, path=tuple(path))])
        return found
    own = log_probs[..., blank].clone()
    log_probs[..., blank] = -torch.inf
    count = min(beam, log_probs.size(-1) - len(never) - 1)
    values, ids = log_probs.topk(count, -1)  # (rows, positions, count)
    texts, counts, totals = (x.tolist() for x in prefix_search(own, ids, values, lengths, kept=beam))
    return [
        [
            Hypothesis(tuple(text[:length]), total, total)
            for text, length, total in zip(*row, strict=True)
            if total > -torch.inf
        ]
        for row in zip(texts, counts, totals, strict=True)
    ]
