"""How well transcripts agree with the texts of a file: error rates of characters and of words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.errors import InputError, Unsupported


@dataclass(frozen=True)
class TranscriptScores:
    """Errors are insertions, deletions and substitutions, the least number that leads to the reference.

    character_errors, word_errors: over all texts; characters, words: of the references; exact: the number of
    transcripts without an error; count: of all.
    """

    character_errors: int
    characters: int
    word_errors: int
    words: int
    exact: int
    count: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "TranscriptScores":
        """The scores of pairs (reference, transcript). Raises UserError if there are none."""
        totals = [0] * 6
        for reference, transcript in pairs:
            own, other = reference.split(), transcript.split()
            found = (
                edit_distance(reference, transcript),
                len(reference),
                edit_distance(own, other),
                len(own),
                int(reference == transcript),
                1,
            )
            totals = [total + value for total, value in zip(totals, found, strict=True)]
        if not totals[1]:
            raise InputError("the file is empty: there is nothing to score.")
        return cls(*totals)

    @property
    def cer(self) -> float:
        """Character error rate: errors for each character of the references. It may exceed 1."""
        return self.character_errors / self.characters

    @property
    def wer(self) -> float:
        """Word error rate; words are what blanks separate."""
        return self.word_errors / max(self.words, 1)

    def lines(self) -> list[str]:
        """Human-readable summary lines."""
        return [
            f"CER    {self.cer:.2%}  of {self.characters:,} characters",
            f"WER    {self.wer:.2%}  of {self.words:,} words",
            f"exact  {self.exact / self.count:.2%}  of {self.count:,}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        return {
            "cer": self.cer,
            "wer": self.wer,
            "exact": self.exact / self.count,
            "count": self.count,
            "characters": self.characters,
            "words": self.words,
        }

    def draw(self, out: Path) -> None:
        """Raises UserError: transcripts have no confusion matrix."""
        raise Unsupported(f"{out}: transcripts have no confusion matrix; ask for the scores alone.")


def edit_distance(reference: Sequence[Any], transcript: Sequence[Any]) -> int:
    """The least number of insertions, deletions and substitutions (Levenshtein 1966)."""
    row = list(range(len(transcript) + 1))
    for number, wanted in enumerate(reference, start=1):
        before, row[0] = row[0], number
        for place, found in enumerate(transcript, start=1):
            before, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, before + (wanted != found)),
            )
    return row[-1]
