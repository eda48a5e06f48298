"""Pictures of answers that are positions: exactness against length, and polygons on their points."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from saccade.inspection.picture import check_picture, save

_PANEL = 2.6  # inches
_ACROSS = 4


def draw_exactness(
    curves: Mapping[str, Mapping[int, float]], *, out: Path, trained: tuple[int, int] | None = None
) -> None:
    """Draws shares of exact answers, 0 to 1, against the number of inputs.

    curves: the shares of each model by name; "" is not named. trained: the smallest and the greatest number
    of inputs in training, between which the picture is shaded. Raises UserError without matplotlib, for a
    file name with another ending, and if it cannot be written.
    """
    check_picture(out)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, shares in curves.items():
        lengths = sorted(shares)
        exact = [100 * shares[length] for length in lengths]
        axes.plot(lengths, exact, marker="o", markersize=3, linewidth=1.4, label=name or None)
    if trained is not None:
        axes.axvspan(*trained, color="0.9", zorder=0, label="lengths in training")
    axes.set_xlabel("inputs")
    axes.set_ylabel("exact answers, %")
    axes.set_ylim(-2, 102)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    save(figure, out)


def draw_polygons(
    polygons: Sequence[tuple[Sequence[Sequence[float]], Sequence[int], Sequence[int]]], *, out: Path
) -> None:
    """Draws each triple (points, right answer, found answer): the answer's round, and what it misses dashed.

    Positions are counted from 1. Raises UserError as `draw_exactness` does.
    """
    check_picture(out)
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(polygons))
    down = -(-len(polygons) // across)
    figure = Figure(figsize=(_PANEL * across, _PANEL * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes, (points, gold, answer) in zip(panels, polygons, strict=False):
        axes.scatter(*zip(*points, strict=True), s=8, color="0.4", zorder=3)
        for positions, style in ((gold, "C1--"), (answer, "C0-")):
            around = [points[position - 1] for position in [*positions, *positions[:1]]]
            if around:
                axes.plot(*zip(*around, strict=True), style, linewidth=1.2)
        axes.set_title("exact" if list(gold) == list(answer) else "not exact", fontsize=8)
        axes.set_aspect("equal")
    for axes in panels:
        axes.set_axis_off()
    save(figure, out)
