"""Attention maps as a picture: the mean of all heads, large, then every head of every layer."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from saccade.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

_CELL = 0.19  # inches a piece in the large map: just enough for its name
_SMALL_LEAST, _SMALL_MOST = 1.1, 2.4  # inches, a head's map
_LARGEST = 40.0  # inches; longer sentences get smaller cells
_DPI = 110
_INK = "Blues"


def check_picture(path: Path) -> None:
    """UserError when matplotlib is missing or the file's ending is none that it is asked to write."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: the picture's name must end in {', '.join(SUFFIXES)}.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError("drawing needs matplotlib: pip install 'saccade[plot]'") from error


def draw_attention(
    maps: Mapping[str, Tensor], source: Sequence[str], target: Sequence[str], *, out: Path
) -> list[str]:
    """Draw the cross-attention among `maps` (name to (heads, target, source)) into the file `out`.

    source, target: the pieces along the axes. Returns notes for the user, such as characters that no
    installed font has. Raises UserError without matplotlib, without cross-attention, and when the file
    cannot be written.
    """
    check_picture(out)
    layers = {name: weights for name, weights in maps.items() if "cross_attention" in name}
    if not layers:
        raise UserError("this model has no cross-attention to draw.")
    from matplotlib import rc_context

    fonts, notes = _fonts([*source, *target])
    with rc_context({"font.family": fonts, "svg.fonttype": "path", "axes.unicode_minus": False}):
        figure = _figure(layers, source, target)
        save(figure, out)
    return notes


def save(figure: "Figure", out: Path) -> None:
    """Write a figure; UserError when that fails."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # told in our own words
            figure.savefig(out, dpi=_DPI)
    except OSError as error:
        raise UserError(f"{out}: cannot write the picture: {error.strerror or error}.") from error


def _figure(layers: Mapping[str, Tensor], source: Sequence[str], target: Sequence[str]) -> "Figure":
    """Sizes are in inches; positions are computed so that every map has square cells and room for names."""
    from matplotlib.figure import Figure

    count, heads = len(layers), max(weights.size(0) for weights in layers.values())
    cell = min(_CELL, _LARGEST / max(len(source), len(target)))
    names = cell / _CELL * 0.09  # width of a character of a piece's name
    left = 0.5 + names * max(map(len, target))
    bottom = 0.4 + names * max(map(len, source))
    large = len(source) * cell, len(target) * cell
    small = _small_size(*large)
    grid = heads * (small[0] + 0.15), count * (small[1] + 0.15)
    width = max(left + large[0], 0.6 + grid[0], 4.5) + 0.3
    height = 0.5 + large[1] + bottom + 0.5 + grid[1] + 0.2
    figure = Figure(figsize=(width, height))

    def place(x: float, top: float, size: tuple[float, float]) -> "Axes":
        return figure.add_axes((x / width, 1 - (top + size[1]) / height, size[0] / width, size[1] / height))

    mean = sum(weights.float().mean(0) for weights in layers.values()) / count
    axes = place(left, 0.5, large)
    _show(axes, mean)
    axes.set_title(f"mean of {heads} heads in {count} layers", loc="left", fontsize=9)
    points = cell / _CELL * 8
    axes.set_xticks(range(len(source)), _plain(source), rotation=90, fontsize=points)
    axes.set_yticks(range(len(target)), _plain(target), fontsize=points)
    for row, (name, weights) in enumerate(layers.items()):
        top = 0.5 + large[1] + bottom + 0.5 + row * (small[1] + 0.15)
        for head in range(weights.size(0)):
            axes = place(0.6 + head * (small[0] + 0.15), top, small)
            _show(axes, weights[head].float())
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"head {head + 1}", fontsize=8)
            if head == 0:
                axes.set_ylabel(f"layer {row + 1}", fontsize=8)
    return figure


def _small_size(width: float, height: float) -> tuple[float, float]:
    """A head's map: like the large one in shape, as long shapes allow."""
    scale = _SMALL_MOST / max(width, height)
    return max(width * scale, _SMALL_LEAST), max(height * scale, _SMALL_LEAST)


def _show(axes: "Axes", weights: Any) -> None:
    """All maps share one scale, 0 to 1, so that they can be compared."""
    axes.imshow(weights.numpy(), cmap=_INK, vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.tick_params(length=2, pad=2)
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _plain(pieces: Sequence[str]) -> list[str]:
    """Dollar signs are letters here, not mathematics."""
    return [piece.replace("$", r"\$") for piece in pieces]


def _fonts(pieces: Iterable[str]) -> tuple[list[str], list[str]]:
    """Font families that together have the pieces' characters, and a note about those that none has."""
    from matplotlib import font_manager

    families = ["DejaVu Sans"]  # comes with matplotlib
    missing = {ord(character) for piece in pieces for character in piece}
    missing -= _characters(font_manager.findfont("DejaVu Sans"))
    if not missing:
        return families, []
    for entry in sorted(font_manager.fontManager.ttflist, key=_preference):
        found = missing & _characters(entry.fname)
        if found:
            families.append(entry.name)
            missing -= found
        if not missing:
            return families, []
    shown = " ".join(chr(code) for code in sorted(missing)[:10])
    return families, [
        f"No installed font has {shown}{' ...' if len(missing) > 10 else ''}: drawn as boxes. Install one, such as "
        "Noto Sans CJK, and remove matplotlib's font cache."
    ]


def _preference(entry: Any) -> tuple[bool, float, str]:
    """Upright text fonts of normal weight first, those for Chinese, Japanese and Korean before the others."""
    name = entry.name
    eastern = any(word in name for word in ("CJK", "Han", "WenQuanYi", "Hei", "Song", "Gothic", "PingFang", "Ming"))
    weight = entry.weight if isinstance(entry.weight, int) else {"regular": 400, "normal": 400}.get(entry.weight, 700)
    return not eastern or entry.style != "normal", math.fabs(weight - 400), name


def _characters(font: str) -> set[int]:
    """The code points that a font file has; none when it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(font).get_charmap())
    except (OSError, RuntimeError):
        return set()
