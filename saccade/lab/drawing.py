"""Charts as SVG files, by matplotlib. Text stays text, which the reader's fonts draw, Chinese included."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saccade.distribution import missing
from saccade.lab.experiment import Chart, Language, Series, Words
from saccade.storage.caches import place_others

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#1f5fa8", "#d1662a", "#2c8a4b", "#8a4fa3", "#b8860b", "#555555", "#c23b6e")
_MARKERS = "osD^vPX"
_LABEL = 14  # letters in a line below a bar
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "saccade",  # equal charts give equal files
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_drawing() -> None:
    """Raises UserError, which says how to install it, if matplotlib is missing."""
    place_others()
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing("the lab's pictures need matplotlib", "plot") from error


def drawn(chart: Chart, language: Language) -> str:
    """The chart as the text of an SVG file. Raises UserError without matplotlib."""
    require_drawing()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # matplotlib measures text with its own font, which lacks Chinese; the reader's font draws it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        (_bars if chart.bars else _curves)(axes, chart, language)
        axes.set_xlabel(chart.x.in_(language))
        axes.set_ylabel(chart.y.in_(language))
        if chart.log_y:
            axes.set_yscale("log")
        axes.grid(axis="y", alpha=0.3)
        if len(chart.series) > 1:
            figure.legend(
                loc="outside upper left", ncols=min(len(chart.series), 3), frameon=False, fontsize=9
            )
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def label(position: float | str | Words, language: Language) -> str:
    """The name of a position of the axis."""
    return position.in_(language) if isinstance(position, Words) else str(position)


def _bars(axes: "Axes", chart: Chart, language: Language) -> None:
    count, width = len(chart.series), 0.8 / len(chart.series)
    for number, series in enumerate(chart.series):
        shift = (number - (count - 1) / 2) * width
        places = [place + shift for place in range(len(chart.positions))]
        axes.bar(
            places,
            [value or 0.0 for value in series.values],
            width=0.92 * width,
            yerr=series.spread,
            capsize=3,
            color=_COLOURS[number % len(_COLOURS)],
            label=series.name.in_(language),
        )
    names = [textwrap.fill(label(one, language), _LABEL) for one in chart.positions]
    axes.set_xticks(range(len(chart.positions)), names)


def _curves(axes: "Axes", chart: Chart, language: Language) -> None:
    numeric = all(isinstance(one, int | float) for one in chart.positions)
    places: Sequence[Any] = chart.positions if numeric else range(len(chart.positions))
    for number, series in enumerate(chart.series):
        colour, name = _COLOURS[number % len(_COLOURS)], series.name.in_(language)
        points = [(x, y) for x, y in zip(places, series.values, strict=True) if y is not None]
        x, y = zip(*points, strict=True) if points else ((), ())
        marker = _MARKERS[number % len(_MARKERS)] if len(x) <= 30 else None
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
        _band(axes, places, series, colour)
    if chart.log_x:
        axes.set_xscale("log", base=2)
    if chart.log_x or not numeric:
        axes.set_xticks(places, [label(one, language) for one in chart.positions])
        axes.minorticks_off()


def _band(axes: "Axes", places: Sequence[Any], series: Series, colour: str) -> None:
    if series.spread is None:
        return
    points = [
        (x, y - half, y + half)
        for x, y, half in zip(places, series.values, series.spread, strict=True)
        if y is not None
    ]
    x, low, high = zip(*points, strict=True)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
