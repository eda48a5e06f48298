"""The log-probabilities of the tokens of one output, as a function of the source that is read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.models.families import Seq2Seq

LOGITS = 1 << 22
"""Logits that are held at a time: 32 MB in float64."""


class TokenScores(ABC):
    """How probable each token of one output is, given any source: what attributions are computed from.

    Sources are ids (rows, source) without padding, the end symbol last. Everything has gradients.
    """

    tokens: int
    """Number of tokens of the output."""
    positions: int
    """Number of positions that the decoder computes for each source: a measure of memory."""
    logits: int
    """Number of logits that `of_one` computes for each row."""
    kept: int = 0
    """Number of source tokens, the last ones, that cannot be left out."""

    @property
    def copies(self) -> Tensor | None:
        """The source positions (1, positions) whose embeddings the decoder reads again; None: none."""
        return None

    @abstractmethod
    def log_probs(self, source: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, tokens); NaN for a target that cannot be written."""

    def of_one(self, source: Tensor, token: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows,), of one token (rows,) of the output for each row."""
        return self.log_probs(source).gather(1, token[:, None])[:, 0]


class StepwiseScores(TokenScores):
    """Those of a target (ids, end symbol last) that is written token by token, given the tokens before."""

    def __init__(self, network: Seq2Seq[Any, Any], target: Sequence[int], *, device: torch.device) -> None:
        self.network, self.target = network, torch.tensor(target, device=device)
        self.tokens = self.positions = len(target)
        self.logits = network.output.out_features

    def log_probs(self, source: Tensor) -> Tensor:
        """See `TokenScores.log_probs`."""
        return picked(self.network.output, self._hidden(source), self.target.expand(source.size(0), -1))

    def of_one(self, source: Tensor, token: Tensor) -> Tensor:
        """See `TokenScores.of_one`."""
        states = self._hidden(source)[torch.arange(len(source), device=source.device), token]
        return picked(self.network.output, states[:, None], self.target[token, None])[:, 0]

    def _hidden(self, source: Tensor) -> Tensor:
        """Hidden states (rows, target, width)."""
        rows, network = source.size(0), self.network
        lengths = torch.full((rows,), source.size(1), device=source.device)
        gold = self.target.expand(rows, -1)
        start = torch.full_like(gold[:, :1], network.vocabulary.start)
        return network.decode(torch.cat([start, gold[:, :-1]], 1), network.encode(source, lengths))


def picked(output: nn.Linear, hidden: Tensor, gold: Tensor) -> Tensor:
    """Log-probabilities in nats, float64 (rows, length), of gold; hidden (rows, length, width).

    Logits are made for a few positions at a time, so that a large vocabulary fits in memory.
    """
    step = max(LOGITS // output.out_features, 1)
    parts = zip(hidden.flatten(0, 1).split(step), gold.flatten().split(step), strict=True)
    found = [output(part).double().log_softmax(-1).gather(1, own[:, None])[:, 0] for part, own in parts]
    return torch.cat(found).view(gold.shape)
