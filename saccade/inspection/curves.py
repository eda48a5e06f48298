"""Training curves as a picture, from the metrics.jsonl of a run."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import NotFound
from saccade.inspection.picture import check_picture, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = Mapping[str, Sequence[Mapping[str, Any]]]
"""The lines of each kind ("train", "valid"), in order."""


def read_metrics(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Reads the lines of a metrics.jsonl, by kind; raises UserError if there are none."""
    records: dict[str, list[dict[str, Any]]] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NotFound(f"{path}: cannot read the metrics: {error.strerror}.") from error
    for line in lines:
        try:
            record = json.loads(line.decode("utf-8"))
            records.setdefault(record["kind"], []).append(record)
        except (ValueError, KeyError, TypeError, RecursionError):  # still being written, or damaged
            continue
    if not records:
        raise NotFound(f"{path}: holds no metrics.")
    return records


def draw_curves(metrics: Path, *, out: Path) -> None:
    """Draws loss, validation scores and learning rate against updates to the file `out`.

    Raises UserError without matplotlib or metrics, and if the file cannot be written.
    """
    check_picture(out)
    from matplotlib.figure import Figure

    records = read_metrics(metrics)
    figure = Figure(figsize=(7.0, 6.5), layout="constrained")
    loss, scores, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.3))
    _curve(loss, records, "train", "loss", label="training (dropout, smoothed labels)")
    _curve(loss, records, "valid", "loss", label="validation")
    loss.set_ylabel("nats per token")
    _curve(scores, records, "valid", "bleu", label="BLEU")
    _curve(scores, records, "valid", "chrf", label="chrF")
    _curve(scores, records, "valid", "exact", label="exact match, %", factor=100)
    scores.set_ylabel("validation")
    scores.set_ylim(0, 102)
    _curve(rate, records, "train", "rate", label="learning rate")
    rate.set_xlabel("updates")
    for axes in (loss, scores, rate):
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend(frameon=False, fontsize=9)
    save(figure, out)


def _curve(axes: "Axes", records: Records, kind: str, name: str, *, label: str, factor: float = 1.0) -> None:
    points = [
        (line["step"], factor * line[name])
        for line in records.get(kind, ())
        if _is_number(line.get("step")) and _is_number(line.get(name))
    ]
    if points:
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps, values, label=label, linewidth=1.4, marker="o" if len(points) < 30 else None, markersize=3
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
