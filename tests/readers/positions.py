"""Pointer networks that sort."""

from __future__ import annotations

import random
from pathlib import Path

from tests.readers import SIZES, Reader, Refusal


def write_tasks(path: Path, count: int, seed: int, *, least: int = 2, most: int = 5) -> None:
    """Numbers and their order, from the smallest to the greatest."""
    generator = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(count):
            numbers = [generator.random() for _ in range(generator.randint(least, most))]
            order = sorted(range(len(numbers)), key=numbers.__getitem__)
            stream.write(f"{' '.join(map(repr, numbers))}\t{' '.join(str(n + 1) for n in order)}\n")


READERS = {
    "pointer": Reader(
        "pointer",
        (*SIZES, "model.layers=1", "model.numbers=1"),
        write_tasks,
        metrics=("exact",),
        scored="exact",
        shown=lambda path: path.read_text().partition("\t")[0],
        wrong=(
            Refusal("2 1\t2 1\n2 1\n", "FILE:2: 1 columns"),
            Refusal("2 1\t2 1\n2 1\t3 1\n", "FILE:2: the answer has position 3"),
            Refusal("2 nan\t1 2\n", "FILE:1: input 2 is 'nan'"),
            Refusal("2,1 1\t1 2\n", "FILE:1: input 1 is '2,1', which is 2 and not 1 numbers"),
            Refusal(f"{'1 ' * 100_000}\t1\n", "FILE:1: 100,000 inputs; at most 32,768 are possible"),
            Refusal("", "no training example can be used"),
        ),
        unknown=Refusal("2 1\t2 1\n2 1\t3 1\n", "FILE:2: the answer has position 3"),
    )
}
