"""Attention maps as a picture: a large map of the mean of all heads, then each head of each layer."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import torch
from torch import Tensor

from saccade.distribution import missing
from saccade.errors import ConfigError, Unsupported
from saccade.models.recording import AttentionMap, cross_maps
from saccade.storage.caches import place_others
from saccade.storage.files import replace_file
from saccade.text.lines import require_many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

_CELL_LEAST, _CELL_MOST = 0.19, 0.45  # inches per piece in the large map, enough to read it
_LARGE = 5.5  # inches, minimum width of the large map if its cells may grow
_LARGEST = 40.0  # inches; longer sentences get smaller cells
_SMALL_LEAST, _SMALL_MOST = 0.9, 2.0  # inches, a head's map
_GAP = 0.15
_DPI = 110
_INK = "Blues"


def check_picture(path: Path) -> None:
    """Raises UserError if matplotlib is missing or the file name has an unsupported ending."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: the picture's name must end in {', '.join(SUFFIXES)}.")
    place_others()
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing("drawing needs matplotlib", "plot") from error


def draw_attention(
    maps: Iterable[AttentionMap], source: Sequence[str], target: Sequence[str], *, out: Path
) -> list[str]:
    """Draws the cross-attention among `maps`, weights (heads, target, source), to the file `out`.

    source, target: the pieces along the axes. Returns notes for the user, such as characters that no
    installed font has. Raises UserError without matplotlib or cross-attention, and if the file cannot be
    written.
    """
    require_many(source, "source")
    require_many(target, "target")
    check_picture(out)
    layers = {one.layer: one.weights for one in cross_maps(maps)}
    if not layers:
        raise Unsupported("this model has no cross-attention to draw.")
    from matplotlib import rc_context

    fonts, notes = fonts_for([*source, *target])
    with rc_context({"font.family": fonts, "svg.fonttype": "path", "axes.unicode_minus": False}):
        figure = _figure(layers, source, target)
        save(figure, out)
    return notes


def save(figure: "Figure", out: Path) -> None:
    """Writes a figure to a file; raises UserError if that fails."""
    import warnings

    drawn = io.BytesIO()  # a pipe has no positions, which PDF needs
    with warnings.catch_warnings():
        # `draw_attention` reports missing glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(drawn, dpi=_DPI, format=out.suffix[1:].lower())
    with replace_file(out) as stream:
        stream.write(drawn.getbuffer())


@dataclass(frozen=True)
class _Layout:
    """Sizes of the page, the maps and the labels, in inches."""

    cell: float
    left: float
    below: float
    large: tuple[float, float]
    small: tuple[float, float]
    page: tuple[float, float]

    def place(self, figure: "Figure", x: float, top: float, size: tuple[float, float]) -> "Axes":
        """Adds axes of this size, with the corner at x from the left and `top` from the top of the page."""
        width, height = self.page
        return figure.add_axes((x / width, 1 - (top + size[1]) / height, size[0] / width, size[1] / height))


def _layout(source: Sequence[str], target: Sequence[str], *, layers: int, heads: int) -> _Layout:
    longest = max(len(source), len(target))
    small = tuple(max(_SMALL_MOST * len(side) / longest, _SMALL_LEAST) for side in (source, target))
    grid = heads * (small[0] + _GAP), layers * (small[1] + _GAP)
    cell = min(max(_LARGE, grid[0]) / longest, _CELL_MOST)
    cell = min(max(cell, _CELL_LEAST), _LARGEST / longest)
    character = _points(cell) / 72 * 0.62  # mean width of a DejaVu letter
    left = 0.3 + character * max(map(_columns, target))
    below = 0.2 + character * max(map(_columns, source))
    large = len(source) * cell, len(target) * cell
    page = max(left + large[0], 0.6 + grid[0], 4.5) + 0.3, 0.5 + large[1] + below + 0.5 + grid[1] + 0.1
    return _Layout(cell, left, below, large, (small[0], small[1]), page)


def _figure(layers: Mapping[int, Tensor], source: Sequence[str], target: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    heads = max(weights.size(0) for weights in layers.values())
    layout = _layout(source, target, layers=len(layers), heads=heads)
    figure = Figure(figsize=layout.page)
    mean = torch.stack([weights.float().mean(0) for weights in layers.values()]).mean(0)
    axes = layout.place(figure, layout.left, 0.5, layout.large)
    most = max(float(mean.max()), min(2 / len(source), 1.0))  # so that even weights are not drawn dark
    _show(axes, mean, most=most)
    title = f"mean of all heads and layers (white 0, darkest {most:.2f})"
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xticks(range(len(source)), _plain(source), rotation=90, fontsize=_points(layout.cell))
    axes.set_yticks(range(len(target)), _plain(target), fontsize=_points(layout.cell))
    for row, weights in enumerate(layers.values()):
        top = 0.5 + layout.large[1] + layout.below + 0.5 + row * (layout.small[1] + _GAP)
        for head in range(weights.size(0)):
            axes = layout.place(figure, 0.6 + head * (layout.small[0] + _GAP), top, layout.small)
            _show(axes, weights[head].float(), most=1.0)  # one scale, so that heads can be compared
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"head {head + 1}", fontsize=8)
            if head == 0:
                axes.set_ylabel(f"layer {row + 1}", fontsize=8)
    return figure


def _points(cell: float) -> float:
    """Font size that fits a cell."""
    return min(cell * 42, 11.0)


def _columns(piece: str) -> int:
    """Width of a piece in letters; Chinese characters are two letters wide."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in piece)


def _show(axes: "Axes", weights: Tensor, *, most: float) -> None:
    axes.imshow(weights.numpy(), cmap=_INK, vmin=0.0, vmax=most, aspect="auto", interpolation="nearest")
    axes.tick_params(length=2, pad=2)
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _plain(pieces: Sequence[str]) -> list[str]:
    """The pieces with escaped dollar signs, which matplotlib would read as mathematics."""
    return [piece.replace("$", r"\$") for piece in pieces]


def fonts_for(pieces: Iterable[str]) -> tuple[list[str], list[str]]:
    """Font families that have the pieces' characters, and a note about characters that none has."""
    from matplotlib import font_manager

    families = ["DejaVu Sans"]  # included with matplotlib
    missing = {ord(character) for piece in pieces for character in piece}
    missing -= _characters(font_manager.findfont("DejaVu Sans"))
    if not missing:
        return families, []
    for entry in sorted(font_manager.fontManager.ttflist, key=_preference):
        if "LastResort" in entry.fname:  # has a box for every character
            continue
        found = missing & _characters(entry.fname)
        if found:
            families.append(entry.name)
            missing -= found
        if not missing:
            return families, []
    shown = " ".join(chr(code) for code in sorted(missing)[:10])
    return families, [
        f"No installed font has {shown}{' ...' if len(missing) > 10 else ''}, so they are drawn as boxes. "
        "Install a font such as Noto Sans CJK."
    ]


def _preference(entry: Any) -> tuple[bool, float, str]:
    """Sort key: fonts for Chinese, Japanese and Korean first, upright ones of normal weight first."""
    name = entry.name
    eastern = any(
        word in name for word in ("CJK", "Han", "WenQuanYi", "Hei", "Song", "Gothic", "PingFang", "Ming")
    )
    weight = (
        entry.weight
        if isinstance(entry.weight, int)
        else {"regular": 400, "normal": 400}.get(entry.weight, 700)
    )
    return not eastern or entry.style != "normal", math.fabs(weight - 400), name


def _characters(font: str) -> set[int]:
    """The code points that a font file has; an empty set if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(font).get_charmap())
    except (OSError, RuntimeError):
        return set()
