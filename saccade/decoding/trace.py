"""Records of decoding, kept on request: the steps of search, and the rounds of models that write at once."""

from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["kept", "finished", "dropped"]


@dataclass(frozen=True)
class Candidate:
    """A token that was considered at one step.

    parent: place of the hypothesis that it continues among those kept at the step before (0 at the first
    step). log_prob: that of the token under the decoding rules; total: that of the extended hypothesis. fate:
    what search did with it; place: its place among the hypotheses kept, None if it was not kept.
    """

    parent: int
    token: int
    log_prob: float
    total: float
    fate: Fate
    place: int | None = None


@dataclass
class Trace:
    """The candidates of each step of one sentence, best first; search appends to it.

    least: minimum number of candidates recorded in a step, if the vocabulary has as many: the nearest misses
    follow the candidates that search itself considers. From a finished candidate the parents lead back to the
    first token, and the log-probabilities along that path add up to that of the hypothesis.
    """

    least: int = 10
    steps: list[tuple[Candidate, ...]] = field(default_factory=list)

    def path(self, step: int, candidate: Candidate) -> list[Candidate]:
        """The candidates from the first token to `candidate` of step number `step`, which is the last one."""
        path = [candidate]
        for earlier in reversed(self.steps[:step]):
            place = path[0].parent
            path.insert(0, next(one for one in earlier if one.place == place))
        return path


@dataclass(frozen=True)
class Round:
    """One pass of a non-autoregressive decoder over all positions of one sentence.

    tokens, log_probs: those of each position after the pass; written: whether the pass wrote the position or
    left it as it was. candidates: the likeliest tokens of each position and their log-probabilities, best
    first; none for a position that was not written.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    written: tuple[bool, ...]
    candidates: tuple[tuple[tuple[int, float], ...], ...]


Rounds = tuple[Round, ...]
