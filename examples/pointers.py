"""Make the texts of examples/sorting.toml and examples/convex-hull.toml, and draw what models answer.

    python examples/pointers.py sort data/sorting --lengths 5-20 --test-lengths 5,10,15,20,25,30,40
    python examples/pointers.py hull data/hull --lengths 50 --train 400000 --test-lengths 50
    python examples/pointers.py curve exactness.svg sorting=scores.json --trained 5-20
    python examples/pointers.py draw runs/convex-hull data/hull/test.txt hulls.svg

`sort` and `hull` write train.txt, valid.txt and test.txt, the same ones each time for the same options. Each
line holds inputs, a tab and the positions that answer them. The numbers of a line to sort all differ. Points
are uniform in the unit square; their convex hull is Qhull's (through scipy, which has to be installed), and
goes counter-clockwise from the lowest position (Vinyals et al. 2015, section 4.1). The test text has equally
many lines of each length. `curve` reads what `saccade predict MODEL FILE --score --json` prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.inspection.pointed import draw_exactness, draw_polygons
from saccade.text.pointing import parse_answer, parse_inputs, read_tasks
from saccade.use.pointer import InputPointer

DIGITS = 100_000
SHOWN = 8
Task = Callable[[np.random.Generator, int], str]


def main() -> None:
    """Does what the command line asks for."""
    arguments = parser().parse_args()
    match arguments.command:
        case "curve":
            named = (one.partition("=") for one in arguments.scores)
            curves = {name: shares(Path(path)) for name, _, path in named}
            draw_exactness(curves, out=arguments.out, trained=span(arguments.trained))
        case "draw":
            draw(arguments.model, arguments.file, arguments.out)
        case name:
            task = {"sort": sorting, "hull": hull}[name]
            write(task, arguments)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = found.add_subparsers(dest="command", required=True)
    for name in ("sort", "hull"):
        one = commands.add_parser(name)
        one.add_argument("folder", type=Path)
        one.add_argument("--lengths", default="5-20", help="inputs of a training line: N or FIRST-LAST")
        one.add_argument(
            "--test-lengths", default="", help="inputs of test lines: N,N,...; unset: as in training"
        )
        one.add_argument("--train", type=int, default=100_000)
        one.add_argument("--valid", type=int, default=1_000)
        one.add_argument("--test", type=int, default=1_000, help="test lines of each length")
        one.add_argument("--seed", type=int, default=1)
    one = commands.add_parser("curve")
    one.add_argument("out", type=Path)
    one.add_argument("scores", nargs="+", metavar="NAME=FILE")
    one.add_argument("--trained", required=True, help="inputs of a training line: FIRST-LAST")
    one = commands.add_parser("draw")
    for name in ("model", "file", "out"):
        one.add_argument(name, type=Path)
    return found


def span(text: str) -> tuple[int, int]:
    """The first and the last length of N or FIRST-LAST."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def write(task: Task, arguments: argparse.Namespace) -> None:
    """Writes the three texts, each from a random generator of its own, so that none affects another."""
    first, last = span(arguments.lengths)
    test = [int(length) for length in arguments.test_lengths.split(",") if length] or list(
        range(first, last + 1)
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("train", "valid", "test")):
        random = np.random.default_rng((arguments.seed, number))
        count = getattr(arguments, name)
        drawn = random.integers(first, last + 1, count).tolist()
        lengths = [length for length in test for _ in range(count)] if name == "test" else drawn
        path = arguments.folder / f"{name}.txt"
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(task(random, length) for length in lengths)
        print(f"{path}: {len(lengths):,} lines")


def sorting(random: np.random.Generator, count: int) -> str:
    """A line of numbers that differ, and their positions from the smallest to the greatest."""
    numbers = random.choice(DIGITS, count, replace=False)
    return line([f"{number / DIGITS:.5f}" for number in numbers], np.argsort(numbers))


def hull(random: np.random.Generator, count: int) -> str:
    """A line of points, and the corners of their convex hull."""
    try:
        from scipy.spatial import ConvexHull
    except ImportError:
        sys.exit("scipy is missing, which computes the convex hulls: pip install scipy")
    points = random.random((count, 2)).round(4)
    corners = ConvexHull(points).vertices  # counter-clockwise
    return line([f"{x:.4f},{y:.4f}" for x, y in points], np.roll(corners, -int(np.argmin(corners))))


def line(inputs: list[str], positions: NDArray[np.intp]) -> str:
    """Inputs, a tab and positions counted from 1."""
    return f"{' '.join(inputs)}\t{' '.join(map(str, (positions + 1).tolist()))}\n"


def shares(path: Path) -> dict[int, float]:
    """The share of exact answers for each number of inputs."""
    scores = json.loads(path.read_text(encoding="utf-8"))
    return {one["inputs"]: one["exact"] for one in scores["by_length"]}


def draw(model: Path, file: Path, out: Path) -> None:
    """Draws answers to the last lines of a file: as many exact ones as others, if there are."""
    pointer = InputPointer.load(model, device="cpu")
    tasks = list(read_tasks(file, answers=True))[-400:]
    drawn: dict[bool, list[tuple[list[list[float]], list[int], tuple[int, ...]]]] = {True: [], False: []}
    for one, found in zip(tasks, pointer.run(tasks), strict=True):
        points = parse_inputs(one.inputs, numbers=2, place=one.place)
        gold = parse_answer(one.answer or "", inputs=len(points), place=one.place)
        drawn[gold == list(found.positions)].append((points.tolist(), gold, found.positions))
    draw_polygons([*drawn[True][: SHOWN // 2], *drawn[False][: SHOWN // 2]], out=out)


if __name__ == "__main__":
    main()
