"""Checks, then measures, what only a GPU can show; prints a table and keeps records.

python -m benchmarks.gpu --out benchmarks/results/gpu.jsonl
python -m benchmarks.gpu --tiny     # small sizes, also on a CPU: only to show that the script works
python -m benchmarks.gpu --only kinds "language models"    # these two parts measure a CPU, too
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.common import machine
from benchmarks.gpu import decoding, kinds, training
from benchmarks.gpu.setting import Run

PARTS: dict[str, Callable[[Run], None]] = {
    "agreement": kinds.agreement,
    "ceiling": training.ceiling,
    "big": lambda run: training.preset(run, "big"),
    "base": lambda run: training.preset(run, "base"),
    "tiny": training.small_updates,
    "decoding": decoding.speed,
    "strings": decoding.same_strings,
    "nonautoregressive": decoding.nonautoregressive,
    "curve": training.curve,
    "scoring": kinds.scoring,
    "kinds": kinds.table,
    "language models": kinds.language_models,
}
"""The parts in order; the first ones matter most if the time runs out."""
ANYWHERE = {"kinds", "language models"}
"""The parts whose figures are of use without a GPU."""


def main(words: list[str] | None = None) -> Run:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small sizes, on a CPU if there is no GPU")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds after which nothing new begins")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="these parts alone")
    parser.add_argument("--out", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args(words)
    chosen = options.only or list(PARTS)
    if not torch.cuda.is_available() and not options.tiny and not ANYWHERE.issuperset(chosen):
        parser.error("there is no GPU here; --tiny shows on a CPU that the script works")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(device, options.tiny, options.budget, options.out)
    if "ceiling" not in chosen and not ANYWHERE.issuperset(chosen):
        chosen = ["ceiling", *chosen]
    for name, part in PARTS.items():
        if name in chosen:
            with run.part(name):
                part(run)
    show(run.rows)
    return run


def show(rows: list[dict[str, Any]]) -> None:
    """Prints all rows as one table."""
    console, table = Console(width=160), Table(title="GPU" if torch.cuda.is_available() else "CPU")
    table.add_column("what")
    table.add_column("values")
    for row in rows:
        values = "  ".join(f"{name} {value}" for name, value in row.items() if name != "what")
        table.add_row(str(row["what"]), values)
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    main()
