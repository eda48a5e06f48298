"""What a vocabulary is learned from: a bounded sample of the lines, and the counts of its characters."""

import random
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

LEARNING_LINES = 4_000_000  # of a vocabulary; SentencePiece holds them in memory
_SEED = 20240117


def sample_lines(lines: Iterable[str], *, limit: int) -> list[str]:
    """All lines when there are at most `limit`, else a uniform sample of that many (reservoir sampling,
    Vitter 1985, "Algorithm R"), the same one for the same lines. Reads the stream once."""
    stream = iter(lines)
    kept = list(islice(stream, limit))
    generator = random.Random(_SEED)
    for seen, line in enumerate(stream, start=limit):
        slot = int(generator.random() * (seen + 1))
        if slot < limit:
            kept[slot] = line
    return kept


def character_counts(lines: Sequence[str]) -> NDArray[np.int64]:
    """How often each character occurs, most frequent first, characters that do not occur left out."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for first in range(0, len(lines), 10_000):
        text = "".join(lines[first : first + 10_000])
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        counts += np.bincount(codes, minlength=counts.size)
    return np.sort(counts[counts > 0])[::-1]


def coverage_of(counts: NDArray[np.int64], *, at_most: int) -> float:
    """Share of the text that the `at_most` most frequent characters make up; `counts` as above."""
    if counts.size <= at_most:
        return 1.0
    return float(counts[:at_most].sum() / counts.sum())

