"""Charts as SVG files, by matplotlib. Text stays text, which the reader's fonts draw, Chinese included."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saccade.distribution import missing
from saccade.lab.experiment import Chart, Language, Series, Words, number
from saccade.storage.caches import place_others

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#1f5fa8", "#d1662a", "#2c8a4b", "#8a4fa3", "#b8860b", "#555555", "#c23b6e")
_MARKERS = "osD^vPX"
_LABEL, _LABELS = 16, 72  # letters in a line below a bar, and below all; Chinese ones are twice as wide
_LABELLED = 12  # bars that are not too many to have their values above them
_TICKS = 10  # positions that are not too many to be named each
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
        parts = [_alone(chart, place) for place in range(len(chart.positions))] if chart.panels else [chart]
        for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            (_bars if part.bars else _curves)(axes, part, language)
            axes.set_xlabel(part.x.in_(language))
            axes.set_ylabel(part.y.in_(language))
            if part.log_y:
                axes.set_yscale("log")
            axes.grid(axis="y", alpha=0.3)
            axes.set_axisbelow(True)
        if len(chart.series) > 1:
            handles, names = axes.get_legend_handles_labels()
            columns = (
                2
                if len(chart.series) == 4 and not chart.panels
                else min(len(chart.series), 4 if chart.panels else 3)
            )
            figure.legend(handles, names, loc="outside upper left", ncols=columns, frameon=False, fontsize=9)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _alone(chart: Chart, place: int) -> Chart:
    """One position of a chart with panels, as a chart of its own."""
    series = [
        replace(one, values=one.values[place : place + 1], ends=one.ends and one.ends[place : place + 1])
        for one in chart.series
    ]
    nothing = Words("", "")
    return replace(chart, x=nothing, y=nothing, positions=chart.positions[place : place + 1], series=series)


def label(position: float | str | Words, language: Language) -> str:
    """The name of a position of the axis."""
    if isinstance(position, Words):
        return position.in_(language)
    return f"{position:g}" if isinstance(position, float) else str(position)


def _bars(axes: "Axes", chart: Chart, language: Language) -> None:
    count, width = len(chart.series), 0.8 / len(chart.series)
    for order, series in enumerate(chart.series):
        shift = (order - (count - 1) / 2) * width
        places = [place + shift for place in range(len(chart.positions))]
        bars = axes.bar(
            places,
            [value or 0.0 for value in series.values],
            width=0.92 * width,
            yerr=_errors(series),
            capsize=3,
            color=_COLOURS[order % len(_COLOURS)],
            label=series.name.in_(language),
        )
        if count * len(chart.positions) <= _LABELLED:
            axes.bar_label(bars, [number(value or 0.0) for value in series.values], padding=2, fontsize=8)
    letters = min(_LABEL, _LABELS // len(chart.positions)) // (1 if language == "en" else 2)
    names = [textwrap.fill(label(one, language), letters) for one in chart.positions]
    axes.set_xticks(range(len(chart.positions)), names)


def _errors(series: Series) -> list[list[float]] | None:
    """How far the lowest and the highest value of each position are from its bar's end."""
    if series.ends is None:
        return None
    parts = [(value or 0.0, *ends) for value, ends in zip(series.values, series.ends, strict=True)]
    return [
        [max(value - low, 0.0) for value, low, _ in parts],
        [max(high - value, 0.0) for value, _, high in parts],
    ]


def _curves(axes: "Axes", chart: Chart, language: Language) -> None:
    numeric = all(isinstance(one, int | float) for one in chart.positions)
    places: Sequence[Any] = chart.positions if numeric else range(len(chart.positions))
    for order, series in enumerate(chart.series):
        colour, name = _COLOURS[order % len(_COLOURS)], series.name.in_(language)
        points = [(x, y) for x, y in zip(places, series.values, strict=True) if y is not None]
        x, y = zip(*points, strict=True) if points else ((), ())
        marker = _MARKERS[order % len(_MARKERS)] if len(x) <= 30 else None
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
        _band(axes, places, series, colour)
    if chart.log_x:
        axes.set_xscale("log", base=2)
    if chart.log_x or not numeric or len(places) <= _TICKS:
        axes.set_xticks(places, [label(one, language) for one in chart.positions])
        axes.minorticks_off()


def _band(axes: "Axes", places: Sequence[Any], series: Series, colour: str) -> None:
    """Shades the range over seeds."""
    if series.ends is None:
        return
    points = [
        (x, *ends) for x, y, ends in zip(places, series.values, series.ends, strict=True) if y is not None
    ]
    x, low, high = zip(*points, strict=True)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
