"""Measure what the heads of a translation model do, on the translations of some lines.

For each self-attention head: the share of its weight on the position before, on the position itself, on the
one behind, and on the last position. For each head of cross-attention: the share on the end symbol while
pieces are written ("end") and while the end symbol itself is written ("at the end"), and the rank
correlation of its weights with gradient x input and with erasure. All are means over lines. A head that
looks everywhere alike has 1 / length on each position, which is printed as "even". The last line has the
rank correlation of the two attributions with each other.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import show
from saccade.inspection.correlation import rank_correlation
from saccade.inspection.record import Inspection
from saccade.use.translator import Translator

Rows = list[dict[str, object]]


def shares(weights: Tensor) -> dict[str, float]:
    """The mean weight (query, key) of a self-attention head by the place of the key."""
    length = weights.size(0)
    found = {name: weights.diagonal(offset).sum() / length for name, offset in _OFFSETS.items()}
    return {**{name: float(value) for name, value in found.items()}, "last": float(weights[:, -1].mean())}


_OFFSETS = {"before": -1, "itself": 0, "behind": 1}


def looked_at(record: Inspection) -> dict[tuple[str, int, int], dict[str, float]]:
    """The figures of every head of one record."""
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for one, sides in zip(record.maps, record.sides, strict=True):
        for head, weights in enumerate(one.weights, start=1):
            key = (one.kind, one.layer, head)
            if sides[0] == sides[1] or one.kind == "decoder":
                found[key] = shares(weights)
                found[key]["even"] = float(1 / weights.size(1))
            else:
                end = weights[:, -1]
                found[key] = {"end": float(end[:-1].mean()), "at the end": float(end[-1])}
                found[key]["even"] = 1 / weights.size(1)
    for attribution in record.attributions:
        for own in attribution.correlations:
            for head, value in enumerate(own.values, start=1):
                if value is not None:
                    found[own.kind, own.layer, head][attribution.method] = value
    return found


def agreement(record: Inspection) -> list[float]:
    """The rank correlation of both attributions for each output token."""
    pairs = zip(*(one.values.abs().numpy() for one in record.attributions), strict=True)
    return [value for value in (rank_correlation(*rows) for rows in pairs) if value is not None]


def tables(records: list[Inspection]) -> dict[str, Rows]:
    """A table for each kind of attention; figures are means over the records."""
    sums: dict[tuple[str, int, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for key, figures in looked_at(record).items():
            for name, value in figures.items():
                sums[key][name].append(value)
    found: dict[str, Rows] = defaultdict(list)
    for (kind, layer, head), lists in sums.items():
        means = {name: f"{sum(values) / len(values):.2f}" for name, values in lists.items()}
        found[kind].append({"layer": layer, "head": head, **means})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--lines", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.source.read_text(encoding="utf-8").split("\n")[: options.lines]
    translator = Translator.load(options.model, device="cpu")
    records = [translator.inspect(line) for line in lines]
    for kind, rows in tables(records).items():
        show(kind, rows, None)
    agreed = [value for record in records for value in agreement(record)]
    print(f"gradient x input and erasure: {sum(agreed) / len(agreed):.2f}")


if __name__ == "__main__":
    main()
