"""What a search considered at each step, recorded where somebody asks for it."""

from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["kept", "finished", "dropped"]


@dataclass(frozen=True)
class Candidate:
    """A token that might have come next.

    parent: place of the hypothesis that it continues among those kept at the step before (0 at the first
    step). log_prob: of the token, as the rules leave it; total: of the hypothesis with it. fate: what became
    of it; place: where it stands among those kept, None where it was not.
    """

    parent: int
    token: int
    log_prob: float
    total: float
    fate: Fate
    place: int | None = None


@dataclass
class Trace:
    """The candidates of each step of one sentence, best first; a search appends to it as it goes.

    least: candidates recorded a step, where there are so many: the nearest misses stand behind those that
    search itself looks at. From a finished candidate the parents lead back to the first token, and the
    log-probabilities on the way add up to the log-probability of the hypothesis.
    """

    least: int = 10
    steps: list[tuple[Candidate, ...]] = field(default_factory=list)

    def path(self, step: int, candidate: Candidate) -> list[Candidate]:
        """The candidates that led to one of step number `step`, from the first token on, itself last."""
        path = [candidate]
        for earlier in reversed(self.steps[:step]):
            place = path[0].parent
            path.insert(0, next(one for one in earlier if one.place == place))
        return path
