"""The result of decoding a sentence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A decoded target: token ids without start and end symbol.

    log_prob: sum of token log-probabilities in nats, end symbol included.
    score: log_prob under the length penalty; hypotheses are sorted by it.
    path: the id at each decoder position if that differs from `tokens` (CTC).
    cut: whether it ended because it had its greatest length, or would have lost to one that could not end.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    path: tuple[int, ...] = ()
    cut: bool = False
