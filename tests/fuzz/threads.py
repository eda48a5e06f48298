"""Many threads that share one loaded model write what one thread writes."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import torch

import saccade
from tests.fuzz import subjects
from tests.fuzz.campaign import Campaign, Outcome
from tests.fuzz.isolation import isolated

THREADS, LINES = 8, 10_000


class Threads(Campaign):
    """Each case is one kind of model, in a process of its own: 8 threads, 10,000 lines each."""

    name = "threads"
    alone = True
    kinds = ("transformer", "nat-ctc", "recurrent-dot")

    def full(self) -> int:
        """One for each kind; the kind that decodes in C is the first."""
        return len(self.kinds)

    def prepare(self) -> None:
        """Writes the models."""
        self.models = {one.name: one.folder for one in subjects.models(self.place)}

    def case(self, number: int, *, count: int = LINES) -> Outcome:
        """One kind; the first one gets all the lines, the others, which decode in torch, a tenth of them."""
        name = self.kinds[number]
        count = count if name != "recurrent-dot" else count // 10
        folder = self.models["packed" if name == "transformer" else name]
        ended = isolated(lambda: compare(folder, self.random(number), count), place=self.place, seconds=600)
        fault = ended.fault()
        return Outcome("fault" if fault else f"{name}: {THREADS} x {count:,} lines equal", fault)


def compare(folder: Path, draws: random.Random, count: int) -> None:
    """Raises AssertionError if a thread writes something else than one thread alone."""
    torch.set_num_threads(1)
    words = " ".join(subjects.TEXT).split()
    distinct = [
        " ".join(draws.choices(words, k=draws.choice((1, 2, 3, 5, 8, 40 if n % 50 == 0 else 4))))
        for n in range(max(count // 10, 1))
    ]
    lines = [draws.choice(distinct) for _ in range(count)]
    alone = saccade.load(folder, device="cpu")
    options = {"beam": 1, "max_length": 5} if hasattr(alone.options(), "beam") else {}  # type: ignore[union-attr]
    expected = {
        line: found.text
        for line, found in zip(distinct, alone.translate(distinct, **options), strict=True)  # type: ignore[union-attr]
    }
    together, start, wrong = saccade.load(folder, device="cpu"), threading.Barrier(THREADS), []

    def work(number: int) -> None:
        first = number * count // THREADS
        mine = [*lines[first:], *lines[:first]]
        start.wait()
        for at in range(0, count, 100):
            part = mine[at : at + 100]
            found = together.translate(part, **options)  # type: ignore[union-attr]
            wrong.extend(line for line, one in zip(part, found, strict=True) if one.text != expected[line])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"{len(wrong)} lines differ, the first: {wrong[0]!r}"
