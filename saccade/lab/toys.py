"""Small tasks with known answers, which map a sequence of symbols to another one.

A task maps a source to its target. Symbols are ids from `FIRST` on; ids below are special.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import torch

from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch, PaddedColumn
from saccade.text.translation import translation_batch
from saccade.text.vocabulary import END, PAD, START

FIRST = 4
"""The first id that is a symbol."""

Rule = Callable[[list[int]], list[int]]
Pair = tuple[list[int], list[int]]


def vocabulary(symbols: int, *, target: int | None = None) -> Vocabulary:
    """A vocabulary of this many symbols; target: their number on the target side, if it has its own."""
    own = symbols if target is None else target
    return Vocabulary(FIRST + symbols, FIRST + own, pad=PAD, start=START, end=END, shared=target is None)


def column(rows: Sequence[Sequence[int]]) -> PaddedColumn:
    """Rows of ids, padded on the right."""
    longest = max(len(row) for row in rows)
    values = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return PaddedColumn(values, lengths, PAD, positions=int(lengths.sum()))


def pairs_batch(pairs: Sequence[Pair]) -> Batch:
    """A batch for training: each side gets its end symbol."""
    source, target = ([[*row, END] for row in side] for side in zip(*pairs, strict=True))
    return translation_batch({"source": column(source), "target": column(target)}, start=START)


def draw(
    generator: random.Random, rule: Rule, *, rows: int, symbols: int, lengths: range, distinct: bool = False
) -> list[Pair]:
    """Pairs with random sources of these lengths; distinct: no symbol twice in a source."""
    alphabet, pairs = range(FIRST, FIRST + symbols), []
    for _ in range(rows):
        length = generator.choice(lengths)
        take = generator.sample if distinct else generator.choices
        source = take(alphabet, k=length)
        pairs.append((source, rule(source)))
    return pairs


def stream(
    seed: int,
    rule: Rule,
    *,
    symbols: int,
    lengths: range,
    rows: int = 64,
    distinct: bool = False,
    batch: Callable[[Sequence[Pair]], Batch] = pairs_batch,
) -> Iterator[Batch]:
    """Batches of fresh pairs without end."""
    generator = random.Random(seed)
    while True:
        yield batch(draw(generator, rule, rows=rows, symbols=symbols, lengths=lengths, distinct=distinct))


def reverse(source: list[int]) -> list[int]:
    """The source backwards."""
    return source[::-1]


def copy(source: list[int]) -> list[int]:
    """The source itself."""
    return list(source)


def previous(source: list[int]) -> list[int]:
    """Each symbol's left neighbour; the first symbol stands for its own."""
    return [source[0], *source[:-1]]
