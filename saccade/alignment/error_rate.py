"""The alignment error rate (Och and Ney 2003, "A Systematic Comparison of Various Statistical Alignment
Models", section 6.1)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from saccade.text.pharaoh import Gold, Link


@dataclass(frozen=True)
class AlignmentScores:
    """How far alignments agree with gold alignments; each is between 0 and 1.

    aer: 1 - (|A and S| + |A and P|) / (|A| + |S|) over all pairs, where A are the links, S the sure and P the
    possible ones of the gold; precision: |A and P| / |A|; recall: |A and S| / |S|.
    """

    aer: float
    precision: float
    recall: float

    def line(self) -> str:
        """Human-readable summary in one line."""
        return f"AER {self.aer:.1%}  precision {self.precision:.1%}  recall {self.recall:.1%}"


def alignment_scores(found: Sequence[Collection[Link]], gold: Sequence[Gold]) -> AlignmentScores:
    """The scores of the links of several pairs. An empty denominator makes precision or recall 0.

    Without any link on either side, the error rate is 0.
    """
    links = sure = right = required = 0
    for own, known in zip(map(frozenset, found), gold, strict=True):
        links, sure = links + len(own), sure + len(known.sure)
        right, required = right + len(own & known.possible), required + len(own & known.sure)
    return AlignmentScores(
        aer=1 - (right + required) / (links + sure) if links + sure else 0.0,
        precision=right / links if links else 0.0,
        recall=required / sure if sure else 0.0,
    )
