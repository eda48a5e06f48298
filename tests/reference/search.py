"""Decoding by trying everything, and models given by a table of probabilities.

`every_target` enumerates all targets that the rules allow; `best` ranks them. `TableModel` is a
`Seq2Seq` whose next-token probabilities are a plain function of (source, tokens so far), and whose
state checks the contract of `State.select` as it is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from saccade.models.interface import Vocabulary

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
    while len(tokens) + 1 < rules.max_length:
        if len(tokens) < len(rules.prefix):
            tokens = (*tokens, rules.prefix[len(tokens)])
            continue
        following = list(log_probs(source, tokens))
        for token in rules.banned:
            following[token] = -math.inf
        if len(tokens) < rules.min_length:
            following[rules.end] = -math.inf
        token = int(np.argmax(following))
        if token == rules.end:
            break
        tokens = (*tokens, token)
    return tokens


def random_table(vocabulary: int, *, seed: int, sharpness: float = 1.0) -> LogProbs:
    """Probabilities that depend on every token before, fixed by the seed."""

    def log_probs(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        key = hashlib.sha256(repr((seed, source, tokens)).encode()).digest()
        logits = sharpness * np.random.default_rng(list(key)).standard_normal(vocabulary)
        normal = math.log(math.fsum(math.exp(x) for x in logits))
        return [float(x) - normal for x in logits]

    return log_probs


@dataclass
class TableState:
    """Per sentence: its source. Per hypothesis: the tokens that it was fed."""

    sources: list[tuple[int, ...]]
    histories: list[tuple[int, ...]]
    hypotheses: int = 1
    used: bool = False

    def select(self, rows: Tensor) -> TableState:
        assert rows.dim() == 2, "rows are (sentences, hypotheses)"
        owners = [[row // self.hypotheses for row in sentence] for sentence in rows.tolist()]
        assert all(len(set(owner)) == 1 for owner in owners), "a row stays inside one sentence"
        kept = [owner[0] for owner in owners]
        assert kept == sorted(set(kept)), "sentences keep their order and occur once"
        histories = [self.histories[row] for row in rows.flatten().tolist()]
        return TableState([self.sources[sentence] for sentence in kept], histories, rows.size(1))


@dataclass
class TableModel:
    """A model that looks its probabilities up; `rows_stepped` counts what each step was asked for."""

    table: LogProbs
    vocabulary: Vocabulary
    max_source_length: int | None = None
    max_target_length: int | None = None
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
        return TableState(memory, [() for _ in memory])

    def step(self, token: Tensor, state: TableState) -> tuple[Tensor, TableState]:
        assert not state.used, "a state is used once"
        state.used = True
        assert token.shape == (len(state.histories),)
        self.rows_stepped.append(len(state.histories))
        histories = [(*past, new) for past, new in zip(state.histories, token.tolist(), strict=True)]
        assert all(past[0] == self.vocabulary.start for past in histories)
        logits = [
            self.table(state.sources[row // state.hypotheses], past[1:]) for row, past in enumerate(histories)
        ]
        following = TableState(state.sources, histories, state.hypotheses)
        return torch.tensor(logits, dtype=torch.float64), following
