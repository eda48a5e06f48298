"""Scores of predicted labels: accuracy, and precision, recall and F1 of each label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.inspection.confusion import draw_confusion


@dataclass(frozen=True)
class LabelF1:
    """Precision, recall and their harmonic mean for one label, and how often it should have been given."""

    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True)
class LabelScores:
    """How well predicted labels agree with those of a file.

    confusion (labels, labels): how often the label of a row was predicted as that of a column. unknown: the
    right predictions for words outside the vocabulary, and the number of such words; None if it has none.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64] = field(repr=False)
    unknown: tuple[int, int] | None = None

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        pairs: Iterable[tuple[int, int]],
        *,
        unknown: tuple[int, int] | None = None,
    ) -> "LabelScores":
        """The scores of pairs (right label, predicted label). Raises UserError if there are none."""
        confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
        found = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
        if not len(found):
            raise InputError("the file is empty: there is nothing to score.")
        np.add.at(confusion, (found[:, 0], found[:, 1]), 1)
        return cls(tuple(labels), confusion, unknown)

    @property
    def count(self) -> int:
        """Number of labels that were compared."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the labels that were predicted."""
        return float(np.trace(self.confusion)) / self.count

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur in the file."""
        return float(np.mean([one.f1 for one in self.each().values() if one.count]))

    @property
    def unknown_accuracy(self) -> float | None:
        """Share of the unknown words whose label was predicted; None if there are none."""
        return self.unknown[0] / self.unknown[1] if self.unknown and self.unknown[1] else None

    def each(self) -> dict[str, LabelF1]:
        """The scores of each label."""
        found = {}
        for number, label in enumerate(self.labels):
            right = int(self.confusion[number, number])
            given, predicted = int(self.confusion[number].sum()), int(self.confusion[:, number].sum())
            precision, recall = right / max(predicted, 1), right / max(given, 1)
            f1 = 2 * right / max(given + predicted, 1)
            found[label] = LabelF1(precision, recall, f1, given)
        return found

    def lines(self) -> list[str]:
        """Human-readable summary lines."""
        lines = [f"accuracy  {self.accuracy:.2%}  of {self.count:,}", f"macro-F1  {self.macro_f1:.2%}"]
        if self.unknown is not None and self.unknown_accuracy is not None:
            lines.append(f"unknown   {self.unknown_accuracy:.2%}  of {self.unknown[1]:,} unknown words")
        width = max(map(len, self.labels))
        lines.append(f"{'label':<{width}}  precision  recall      F1   count")
        lines += [
            f"{label:<{width}}  {one.precision:9.2%}  {one.recall:6.2%}  {one.f1:6.2%}  {one.count:6,}"
            for label, one in sorted(self.each().items(), key=lambda item: (-item[1].count, item[0]))
        ]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "count": self.count,
            "unknown_accuracy": self.unknown_accuracy,
            "labels": {label: vars(one) for label, one in self.each().items()},
            "confusion": self.confusion.tolist(),
        }

    def draw(self, out: Path) -> None:
        """Draws the confusion matrix; see `draw_confusion` for the errors."""
        draw_confusion(self.labels, self.confusion, out=out)
