"""Attention drawn over what was read: a picture, or the spectrogram of a sound."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.errors import Unsupported
from saccade.frames.reading import View
from saccade.inspection.picture import check_picture, fonts_for, save
from saccade.inspection.seen import boxes
from saccade.models.recording import AttentionMap, cross_maps

_WIDE = 9.0  # inches
_ROW = (0.28, 1.6)  # inches, bounds of a row's height
_MOST_ROWS = 80
_PALE = 0.55  # how much of the picture is left under the weights


def heat(view: View, weights: NDArray[np.float32], *, stride: int) -> NDArray[np.float32]:
    """Weights (positions,) spread over the picture (height, width), each over the frames of its position."""
    spread = np.zeros(view.values.shape, dtype=np.float32)
    for weight, (left, top, width, height) in zip(np.repeat(weights, stride), boxes(view), strict=False):
        spread[top : top + height, left : left + width] = weight
    return spread


def draw_over(
    view: View, maps: Iterable[AttentionMap], marks: Sequence[str], *, stride: int, title: str, out: Path
) -> list[str]:
    """Draws the mean cross-attention of all heads and layers over a picture, a row for each mark.

    maps: weights (heads, query, key), a query for each mark; stride: frames for each key. Returns notes for
    the user. Raises UserError without matplotlib or cross-attention, and if the file cannot be written.
    """
    check_picture(out)
    found = [one.weights.float().mean(0) for one in cross_maps(maps)]
    if not found:
        raise Unsupported("this model has no attention to draw over what it reads.")
    mean = torch.stack(found).mean(0).numpy()  # (marks, keys)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    fonts, notes = fonts_for([*marks, title])
    shown = list(zip(marks, mean, strict=True))[:_MOST_ROWS]
    if len(marks) > len(shown):
        notes.append(f"only the first {len(shown)} of {len(marks)} characters are drawn.")
    row = min(max(_WIDE * view.values.shape[0] / view.values.shape[1], _ROW[0]), _ROW[1])
    rows, aspect = len(shown) + 1, "equal" if view.square else "auto"
    with rc_context({"font.family": fonts, "svg.fonttype": "path"}):
        figure = Figure(figsize=(_WIDE, 0.5 + row * rows), layout="constrained")
        axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
        axes[0].imshow(view.values, cmap="gray_r", aspect=aspect, interpolation="nearest")
        axes[0].set_title(title.replace("$", r"\$"), loc="left", fontsize=9)
        for place, (mark, weights) in zip(axes[1:], shown, strict=True):
            place.imshow(
                view.values * _PALE,
                cmap="gray_r",
                vmin=view.values.min(),
                vmax=view.values.max(),
                aspect=aspect,
                interpolation="nearest",
            )
            warmth = heat(view, weights, stride=stride)
            most = float(warmth.max()) or 1.0
            place.imshow(
                warmth,
                cmap="Reds",
                vmin=0,
                vmax=most,
                alpha=0.75 * warmth / most,
                aspect=aspect,
                interpolation="nearest",
            )
            place.set_ylabel(mark.replace("$", r"\$"), rotation=0, ha="right", va="center", fontsize=9)
        for place in axes:
            place.set_xticks([])
            place.set_yticks([])
        save(figure, out)
    return notes
