"""Fertility labels by each attention layer and by eflomal: how alike they are, and how easy to predict.

For each way: the share of target pieces aligned as eflomal aligns them, the share of source pieces with the
same fertility, the entropy of the fertilities, and their entropy given the source piece (both in nats): what
a predictor that sees the piece alone could not know. Lower is easier to learn.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from benchmarks.common import ROOT, show
from saccade.alignment.attention import aligned_by_attention
from saccade.alignment.counting import aligned_by_counting
from saccade.alignment.fertilities import counted
from saccade.model_folder.checkpoint import find_model, read_description
from saccade.text.corpus import read_parallel
from saccade.use.translator import Translator

Rows = Sequence[Sequence[int]]


def agreement(one: Rows, other: Rows) -> float:
    """Share of equal numbers in rows of equal length."""
    pairs = [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def entropy(values: Iterable[int]) -> float:
    """The entropy of the distribution of the values, in nats."""
    counts = Counter(values)
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def entropy_given(values: Rows, conditions: Rows) -> float:
    """Mean entropy of the values where the condition is the same, weighted by how often it occurs."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row, keys in zip(values, conditions, strict=True):
        for value, key in zip(row, keys, strict=False):  # a condition more: the end symbol
            groups[key].append(value)
    total = sum(map(len, groups.values()))
    return sum(len(group) / total * entropy(group) for group in groups.values())


def main() -> None:
    """Print a row for each way to align."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the teacher")
    parser.add_argument("--source", type=Path, default=ROOT / "../shared/data/multi30k/train.en")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--lines", type=int, help="number of lines to use, the first ones; unset: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="append the rows to this JSONL file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [side[: options.lines] for side in read_parallel(options.source, options.target)]
    translator = Translator.load(options.model)
    tokenizer = translator.tokenizer
    sources, targets = tokenizer.encode_source(lines[0]), tokenizer.encode_target(lines[1])
    layers = read_description(find_model(options.model))["model"]["decoder_layers"]
    found = {
        f"attention, layer {layer}": aligned_by_attention(translator, sources, targets, layer=layer)
        for layer in range(1, layers + 1)
    }
    found["eflomal"] = aligned_by_counting(sources, targets)
    found["eflomal again"] = aligned_by_counting(sources, targets)
    counts = {
        name: [counted(row, len(source) - 1) for row, source in zip(rows, sources, strict=True)]
        for name, rows in found.items()
    }
    table: list[dict[str, object]] = [
        {
            "labels": name,
            "aligned as eflomal": f"{agreement(rows, found['eflomal']):.1%}",
            "fertility as eflomal": f"{agreement(counts[name], counts['eflomal']):.1%}",
            "entropy": f"{entropy(n for row in counts[name] for n in row):.3f}",
            "entropy given the piece": f"{entropy_given(counts[name], sources):.3f}",
        }
        for name, rows in found.items()
    ]
    show(f"fertilities of {len(sources):,} pairs, {options.model}", table, options.out)


if __name__ == "__main__":
    main()
