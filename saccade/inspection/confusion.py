"""A confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.inspection.picture import check_picture, save

_CELL = 0.45  # inches
_MARGIN = 2.2


def draw_confusion(labels: Sequence[str], confusion: NDArray[np.int64], *, out: Path) -> None:
    """Draws how often the label of a row was predicted as that of a column, and the share of its row as ink.

    Raises UserError without matplotlib, for a file name with another ending, and if it cannot be written.
    """
    check_picture(out)
    from matplotlib.figure import Figure

    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    size = _MARGIN + _CELL * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("in the file")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            ink = "white" if shares[row, column] > 0.5 else "black"  # readable on the cell's colour
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=6, color=ink)
    save(figure, out)
