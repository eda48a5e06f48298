"""Decoding by trying everything, and models given by a table of probabilities.

`every_target` enumerates all targets that the rules allow; `best` ranks them. `TableModel` is a
`Seq2Seq` whose next-token probabilities are a plain function of (source, tokens so far), and whose
state checks the contract of `State.select` as it is used.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from saccade.models.interface import Vocabulary
from saccade.nn.rows import Rows

LogProbs = Callable[[tuple[int, ...], tuple[int, ...]], Sequence[float]]
"""(source ids, target ids so far) to the log-probability of each next token."""


@dataclass(frozen=True)
class Rules:
    """What may be written. Lengths count tokens; max_length counts the end symbol, min_length doesn't."""

    end: int
    max_length: int
    banned: tuple[int, ...] = ()
    min_length: int = 0
    prefix: tuple[int, ...] = ()


def every_target(
    log_probs: LogProbs, source: tuple[int, ...], rules: Rules
) -> Iterator[tuple[tuple[int, ...], float]]:
    """All (tokens without end, log-probability with end)."""

    def extend(tokens: tuple[int, ...], total: float) -> Iterator[tuple[tuple[int, ...], float]]:
        following = log_probs(source, tokens)
        if len(tokens) >= max(rules.min_length, len(rules.prefix)):
            yield tokens, total + following[rules.end]
        if len(tokens) + 1 == rules.max_length:
            return
        for token, gain in enumerate(following):
            if token == rules.end or token in rules.banned or gain == -math.inf:
                continue
            if len(tokens) < len(rules.prefix) and token != rules.prefix[len(tokens)]:
                continue
            yield from extend((*tokens, token), total + gain)

    yield from extend((), 0.0)


def penalised(log_prob: float, length: int, *, kind: str, alpha: float) -> float:
    """length counts the end symbol. gnmt: Wu et al. 2016, equation 14; power: divided by length^alpha."""
    if kind == "gnmt":
        return log_prob / ((5 + length) ** alpha / (5 + 1) ** alpha)
    return log_prob / length**alpha


def best(
    log_probs: LogProbs, source: tuple[int, ...], rules: Rules, *, kind: str, alpha: float
) -> list[tuple[tuple[int, ...], float, float]]:
    """All (tokens, log-probability, score), best score first."""
    found = [
        (tokens, total, penalised(total, len(tokens) + 1, kind=kind, alpha=alpha))
        for tokens, total in every_target(log_probs, source, rules)
    ]
    return sorted(found, key=lambda one: -one[2])


def greedy(log_probs: LogProbs, source: tuple[int, ...], rules: Rules) -> tuple[int, ...]:
    """The likeliest allowed token at each step."""
    tokens: tuple[int, ...] = ()
    while True:
        token = int(np.argmax(allowed(log_probs, source, tokens, rules)))
        if token == rules.end:
            return tokens
        tokens = (*tokens, token)


def allowed(
    log_probs: LogProbs, source: tuple[int, ...], tokens: tuple[int, ...], rules: Rules
) -> list[float]:
    """Log-probabilities of the next token, -inf for what the rules forbid."""
    following = list(log_probs(source, tokens))
    for token in range(len(following)):
        forbidden = token in rules.banned
        forbidden |= token == rules.end and len(tokens) < rules.min_length
        forbidden |= token != rules.end and len(tokens) + 1 == rules.max_length
        forbidden |= len(tokens) < len(rules.prefix) and token != rules.prefix[len(tokens)]
        if forbidden:
            following[token] = -math.inf
    return following


def beam_search(
    log_probs: LogProbs, source: tuple[int, ...], rules: Rules, *, beam: int, kind: str, alpha: float
) -> list[tuple[tuple[int, ...], float, float]]:
    """(tokens, log-probability, score), best first: the usual algorithm with lists.

    Of the 2 * beam best extensions those among the first `beam` that end are finished, and the
    `beam` best that do not end live on. It stops when `beam` are finished and the likeliest live
    one, scored as if it ended now, beats none of them.
    """
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float, float]] = []
    for length in range(1, rules.max_length + 1):
        extensions = [
            ((*tokens, token), total + gain)
            for tokens, total in live
            for token, gain in enumerate(allowed(log_probs, source, tokens, rules))
            if gain > -math.inf
        ]
        extensions = sorted(extensions, key=lambda one: -one[1])[: 2 * beam]
        for tokens, total in extensions[:beam]:
            if tokens[-1] == rules.end:
                score = penalised(total, length, kind=kind, alpha=alpha)
                finished.append((tokens[:-1], total, score))
        finished = sorted(finished, key=lambda one: -one[2])[:beam]
        live = [one for one in extensions if one[0][-1] != rules.end][:beam]
        if not live:
            break
        hope = penalised(live[0][1], length, kind=kind, alpha=alpha)
        if len(finished) == beam and finished[-1][2] >= hope:
            break
    return finished


def random_table(vocabulary: int, *, seed: int, sharpness: float = 1.0) -> LogProbs:
    """Probabilities that depend on every token before, fixed by the seed."""

    @functools.cache
    def log_probs(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        key = hashlib.sha256(repr((seed, source, tokens)).encode()).digest()
        logits = sharpness * np.random.default_rng(list(key)).standard_normal(vocabulary)
        normal = math.log(math.fsum(math.exp(x) for x in logits))
        return [float(x) - normal for x in logits]

    return log_probs


@dataclass
class TableState:
    """Per sentence: its source. Per hypothesis: the tokens that it was fed, and whose it is."""

    sources: list[tuple[int, ...]]
    histories: list[tuple[int, ...]]
    owners: list[int]
    used: bool = False

    def select(self, rows: Rows) -> TableState:
        kept = range(len(self.sources)) if rows.sentences is None else rows.sentences.tolist()
        assert len(set(kept)) == len(kept) == len(rows.layout.counts), "a sentence occurs once"
        index = rows.index.tolist()
        owners = [place for place, count in enumerate(rows.layout.counts) for _ in range(count)]
        assert [self.owners[row] for row in index] == [kept[place] for place in owners], (
            "a row stays inside its sentence"
        )
        return TableState(
            [self.sources[place] for place in kept], [self.histories[row] for row in index], owners
        )

    def join(self, fresh: TableState) -> TableState:
        assert not any(fresh.histories), "who joins has not been stepped"
        owners = [*self.owners, *(place + len(self.sources) for place in fresh.owners)]
        return TableState(self.sources + fresh.sources, self.histories + fresh.histories, owners)


@dataclass
class TableModel:
    """A model that looks its probabilities up; `rows_stepped` counts what each step was asked for."""

    table: LogProbs
    vocabulary: Vocabulary
    max_source_length: int | None = None
    max_target_length: int | None = None
    joins: bool = True
    rows_stepped: list[int] = field(default_factory=list)

    @property
    def output(self) -> nn.Linear:
        raise NotImplementedError

    def decode(self, target_in: Tensor, memory: object) -> Tensor:
        raise NotImplementedError

    def encode(self, source: Tensor, source_lengths: Tensor) -> list[tuple[int, ...]]:
        pairs = zip(source.tolist(), source_lengths.tolist(), strict=True)
        return [tuple(row[:length]) for row, length in pairs]

    def start(self, memory: list[tuple[int, ...]], max_length: int) -> TableState:
        return TableState(memory, [() for _ in memory], list(range(len(memory))))

    def step(self, token: Tensor, state: TableState) -> tuple[Tensor, TableState]:
        assert not state.used, "a state is used once"
        state.used = True
        assert token.shape == (len(state.histories),)
        self.rows_stepped.append(len(state.histories))
        histories = [(*past, new) for past, new in zip(state.histories, token.tolist(), strict=True)]
        assert all(past[0] == self.vocabulary.start for past in histories)
        logits = [
            self.table(state.sources[owner], past[1:])
            for owner, past in zip(state.owners, histories, strict=True)
        ]
        following = TableState(state.sources, histories, state.owners)
        return torch.tensor(logits, dtype=torch.float64), following
