"""What search returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One decoded target: token ids without start and end symbol.

    log_prob: sum of token log-probabilities in nats, end symbol in.
    score: log_prob under the length penalty; hypotheses are sorted by it.
    path: what each decoder position said, where that is not the tokens themselves.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    path: tuple[int, ...] = ()
