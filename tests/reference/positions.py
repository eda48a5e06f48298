"""Self-attention that knows positions, with plain loops in float64, each written from its paper.

Rotary: Su et al. 2021 (arXiv 2104.09864), equations 15 and 16. Relative: Shaw et al. 2018
(arXiv 1803.02155), equations 3 and 4. ALiBi: Press et al. 2022 (arXiv 2108.12409), section 3. Restricted:
"Attention Is All You Need", section 4. Nothing here imports torch or saccade.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.reference.transformer import Array, Reference, position_encoding, softmax

Mask = NDArray[np.bool_]


def dot(first: Array, second: Array) -> float:
    return math.fsum(float(a) * float(b) for a, b in zip(first, second, strict=True))


def turned(vector: Array, position: int) -> Array:
    """Each pair of neighbouring channels by position * 10000^(-2(i-1)/d), i = 1 ... d/2."""
    d = len(vector)
    out = np.zeros(d)
    for i in range(1, d // 2 + 1):
        angle = position * 10000 ** (-2 * (i - 1) / d)
        a, b = vector[2 * i - 2], vector[2 * i - 1]
        out[2 * i - 2] = a * math.cos(angle) - b * math.sin(angle)
        out[2 * i - 1] = a * math.sin(angle) + b * math.cos(angle)
    return out


def slope(head: int, heads: int) -> float:
    """Of head 1 ... heads: a geometric sequence that starts at 2^(-8/heads), which is its ratio too."""
    start = 2 ** (-8 / heads)
    value = start
    for _ in range(head - 1):
        value *= start
    return value


@dataclass(frozen=True)
class Head:
    """One head's attention. index from 1; tables: a^K and a^V, row 0 for the distance -furthest."""

    positions: str
    index: int
    heads: int
    tables: tuple[Array, Array] | None = None
    furthest: int = 0

    def score(self, query: Array, key: Array, i: int, j: int) -> float:
        root = math.sqrt(len(query))
        if self.positions == "rotary":
            return dot(turned(query, i), turned(key, j)) / root
        if self.positions == "alibi":
            return dot(query, key) / root - slope(self.index, self.heads) * abs(i - j)
        if self.tables is not None:
            return dot(query, key + self.tables[0][self.row(i, j)]) / root
        return dot(query, key) / root

    def row(self, i: int, j: int) -> int:
        return max(-self.furthest, min(self.furthest, j - i)) + self.furthest

    def weights(self, query: Array, key: Array, visible: Mask) -> Array:
        return np.array(
            [
                softmax(
                    [
                        self.score(query[i], key[j], i, j) if visible[i, j] else -math.inf
                        for j in range(len(key))
                    ]
                )
                for i in range(len(query))
            ]
        )

    def __call__(self, query: Array, key: Array, value: Array, visible: Mask) -> Array:
        weights = self.weights(query, key, visible)
        out = np.zeros((len(query), value.shape[1]))
        for i in range(len(query)):
            for j in range(len(key)):
                added = value[j] if self.tables is None else value[j] + self.tables[1][self.row(i, j)]
                out[i] += weights[i, j] * added
        return out


def within(visible: Mask, window: int | None) -> Mask:
    """What is at most `window` positions away."""
    near = [
        [window is None or abs(i - j) <= window for j in range(visible.shape[1])]
        for i in range(visible.shape[0])
    ]
    return visible & np.array(near)


@dataclass(frozen=True)
class PositionedReference(Reference):
    """The whole model with any positions and window; windows: of each layer, the encoder's first."""

    positions: str = "sinusoidal"
    windows: tuple[int | None, ...] = ()
    furthest: int = 0

    def _embed(self, name: str, tokens: list[int]) -> Array:
        matrix = self.weights[f"{name}.tokens.weight"]
        rows = np.array([matrix[token] * math.sqrt(matrix.shape[1]) for token in tokens])
        if self.positions == "sinusoidal":
            return rows + position_encoding(len(tokens), matrix.shape[1], layout=self.layout)
        if self.positions == "learned":
            return rows + self.weights[f"{name}.positions.table"][: len(tokens)]
        return rows

    def _self_attention(self, layer: str, visible: Mask) -> Callable[[Array], Array]:
        name = f"{layer}.self_attention"
        number = int(layer.rpartition(".")[2])
        window = self.windows[number + (self.encoder_layers if layer.startswith("decoder") else 0)]
        tables = None
        if self.positions == "relative":
            tables = self.weights[f"{name}.positions.keys"], self.weights[f"{name}.positions.values"]

        def run(x: Array) -> Array:
            query, key, value = np.split(self._linear(f"{name}.query_key_value", x), 3, axis=1)
            d = query.shape[1] // self.heads
            parts = []
            for h in range(self.heads):
                columns = slice(h * d, (h + 1) * d)
                head = Head(self.positions, h + 1, self.heads, tables, self.furthest)
                seen = within(visible, window)
                parts.append(head(query[:, columns], key[:, columns], value[:, columns], seen))
            weight, bias = self._output(name)
            return np.concatenate(parts, axis=1) @ weight.T + bias

        return run
