"""How well a ranking agrees with what was chosen: log-loss, NDCG and hit rate."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import InputError, Unsupported

_LEAST = 1e-7  # probabilities are kept away from 0 and 1 by this, so that one mistake costs 16 nats


@dataclass(frozen=True)
class RankingScores:
    """log_loss: mean of minus the log-probability of each candidate's label, in nats. ndcg, hit: means over
    the lists with a choice and at least two candidates; None if there are none."""

    log_loss: float
    ndcg: float | None
    hit: float | None
    candidates: int
    lists: int

    @classmethod
    def of(cls, lists: Iterable[tuple[Sequence[int], Sequence[float]]]) -> "RankingScores":
        """The scores of pairs (labels, probabilities) of lists. Raises UserError if there are none."""
        loss, candidates, gains, hits = 0.0, 0, [], []
        for labels, probabilities in lists:
            kept = np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST, 1 - _LEAST)
            wanted = np.asarray(labels, dtype=bool)
            loss -= float(np.log(np.where(wanted, kept, 1 - kept)).sum())
            candidates += len(wanted)
            if len(wanted) > 1 and wanted.any():
                gain, hit = ndcg_and_hit(wanted.tolist(), list(probabilities))
                gains.append(gain)
                hits.append(hit)
        if not candidates:
            raise InputError("the table is empty: there is nothing to score.")
        return cls(
            loss / candidates,
            float(np.mean(gains)) if gains else None,
            float(np.mean(hits)) if hits else None,
            candidates,
            len(gains),
        )

    def lines(self) -> list[str]:
        """Human-readable summary lines."""
        lines = [f"log-loss  {self.log_loss:.4f}  of {self.candidates:,} candidates"]
        if self.ndcg is not None and self.hit is not None:
            lines.append(f"NDCG      {self.ndcg:.4f}  of {self.lists:,} lists")
            lines.append(f"hit rate  {self.hit:.2%}  of the first places")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        return vars(self)

    def draw(self, out: Path) -> None:
        """Raises UserError: rankings have no confusion matrix."""
        raise Unsupported(f"{out}: rankings have no confusion matrix; ask for the scores alone.")


def ndcg_and_hit(labels: Sequence[bool], scores: Sequence[float]) -> tuple[float, float]:
    """Discounted gain of the labels, divided by the best possible one, and the share of hits in first place.

    The gain of place k, from 1, is 1 / log2(k + 1) (Järvelin and Kekäläinen 2002). Candidates of equal score
    share their places, so that the order of the rows does not matter.
    """
    discounts = [1 / math.log2(place + 2) for place in range(len(labels))]
    ideal = sum(discounts[: sum(labels)])
    order = sorted(range(len(labels)), key=lambda row: -scores[row])
    gain = hit = 0.0
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and scores[order[last + 1]] == scores[order[first]]:
            last += 1
        share = sum(labels[row] for row in order[first : last + 1]) / (last + 1 - first)
        gain += share * sum(discounts[first : last + 1])
        hit += share if first == 0 else 0.0
        first = last + 1
    return gain / ideal, hit
