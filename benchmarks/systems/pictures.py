"""The pictures of the comparison, from what the stages measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.systems.catalogue import SYSTEMS
from benchmarks.systems.layers import KERNEL, WIDTH, WINDOW
from benchmarks.systems.scores import Result, bucket_names

LABELS = {
    "attention": "self-attention",
    "local": f"local attention, {WINDOW} a side",
    "recurrent": "GRU",
    "convolution": f"gated convolution, kernel {KERNEL}",
}


def _save(figure: Figure, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def draw_layers(found: Mapping[str, Mapping[str, Mapping[str, float]]], out: Path) -> None:
    """Four panels over length: multiplications, milliseconds, memory, chain; found: as in layers.json."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(
        f"One layer of width {WIDTH}, one sentence, forward and gradient (multiplications: forward)"
    )
    panels = {
        "multiplications": ("multiplications, millions", 1e-6),
        "both": ("milliseconds", 1e3),
        "peak_mb": ("MB at the peak", 1.0),
        "chain": ("operations that wait for each other", 1.0),
    }
    lengths = [int(length) for length in found]
    for axes, (name, (label, factor)) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for kind, title in LABELS.items():
            values = [factor * found[str(length)][kind][name] for length in lengths]
            (line,) = axes.plot(lengths, values, marker="o", ms=3, label=title)
            if name == "both":
                low, high = (
                    [1e3 * found[str(n)][kind][f"both_{end}"] for n in lengths] for end in ("low", "high")
                )
                axes.fill_between(lengths, low, high, color=line.get_color(), alpha=0.15, lw=0)
            if name == "multiplications":
                table = [factor * found[str(length)][kind]["predicted"] for length in lengths]
                axes.plot(lengths, table, color=line.get_color(), lw=0.8, ls=":")
        _logarithmic(axes, lengths, label)
    figure.axes[0].plot([], [], color="0.5", lw=0.8, ls=":", label="the notes' table")
    figure.axes[0].legend(fontsize=8)
    _save(figure, out)


def _logarithmic(axes: Axes, lengths: Sequence[int], label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths], fontsize=8)
    axes.set_xlabel("length")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)


def draw_lengths(results: Mapping[str, Sequence[Result]], out: Path) -> None:
    """BLEU by length of the source: a line for each system, its mean over seeds, and where they differ."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for system, seeds in results.items():
        rows = _by_bucket(seeds)
        places = list(rows)
        means = [sum(values) / len(values) for values in rows.values()]
        style = {"lw": 2.2} if system in ("recurrent", "fixed-vector") else {"lw": 1.0, "ls": "--"}
        (line,) = axes.plot(places, means, marker="o", ms=4, label=SYSTEMS[system].title, **style)
        if any(len(values) > 1 for values in rows.values()):
            low, high = [min(each) for each in rows.values()], [max(each) for each in rows.values()]
            axes.fill_between(places, low, high, color=line.get_color(), alpha=0.15, lw=0)
    some = next(iter(results.values()))[0]
    lines = {int(row["bucket"]): int(row["lines"]) for row in some.lengths}
    names = bucket_names()
    axes.set_xticks(list(lines), [f"{names[n]}\n{count} lines" for n, count in lines.items()], fontsize=9)
    axes.set_xlabel("words of the source")
    axes.set_ylabel("BLEU, cased, detokenised")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    _save(figure, out)


def _by_bucket(seeds: Sequence[Result]) -> dict[int, list[float]]:
    rows: dict[int, list[float]] = {}
    for result in seeds:
        for row in result.lengths:
            rows.setdefault(int(row["bucket"]), []).append(row["bleu"])
    return rows


def draw_progress(results: Mapping[str, Sequence[Result]], out: Path) -> None:
    """BLEU of the validation text against updates, a line for each run."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for number, (system, seeds) in enumerate(results.items()):
        for again, result in enumerate(one for one in seeds if one.curve):
            steps, scores = zip(*result.curve, strict=True)
            label: Any = None if again else SYSTEMS[system].title
            axes.plot(steps, scores, color=f"C{number}", lw=1.4, label=label)
    axes.set_xlabel("updates")
    axes.set_ylabel("BLEU of greedy translations of the validation text")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    _save(figure, out)
