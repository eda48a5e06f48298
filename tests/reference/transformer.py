"""The Transformer with plain loops in float64, one sentence at a time, written from the paper.

Section and equation numbers are of "Attention Is All You Need" (arXiv 1706.03762). Vectors are lists of
numpy float64 rows; `weights` maps the parameter names of `saccade.models.transformer` to arrays.
Nothing here imports torch or saccade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(scores: list[float]) -> list[float]:
    """Of a row in which -inf is hidden; a row that is hidden throughout gives zeros."""
    top = max(scores)
    if top == -math.inf:
        return [0.0] * len(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / math.fsum(powers) for power in powers]


def attention_weights(query: Array, key: Array, visible: NDArray[np.bool_]) -> Array:
    """Equation 1 without the product with V: (queries, d_k), (keys, d_k) to (queries, keys)."""
    rows = []
    for i in range(len(query)):
        scores = []
        for j in range(len(key)):
            product = math.fsum(float(a) * float(b) for a, b in zip(query[i], key[j], strict=True))
            scores.append(product / math.sqrt(query.shape[1]) if visible[i, j] else -math.inf)
        rows.append(softmax(scores))
    return np.array(rows)


def attention(query: Array, key: Array, value: Array, visible: NDArray[np.bool_]) -> Array:
    """Equation 1."""
    weights = attention_weights(query, key, visible)
    out = np.zeros((len(query), value.shape[1]))
    for i in range(len(query)):
        for j in range(len(key)):
            out[i] += weights[i, j] * value[j]
    return out


def multi_head(
    query: Array,
    key: Array,
    value: Array,
    output: tuple[Array, Array],
    *,
    heads: int,
    visible: NDArray[np.bool_],
) -> Array:
    """Section 3.2.2, after the projections; output: W^O (out, in) and its bias."""
    d = query.shape[1] // heads
    parts = []
    for h in range(heads):
        columns = slice(h * d, (h + 1) * d)
        parts.append(attention(query[:, columns], key[:, columns], value[:, columns], visible))
    return np.concatenate(parts, axis=1) @ output[0].T + output[1]


def layer_norm(x: Array, gain: Array, bias: Array, *, eps: float = 1e-5) -> Array:
    rows = []
    for row in x:
        mean = row.sum() / len(row)
        variance = ((row - mean) ** 2).sum() / len(row)
        rows.append((row - mean) / math.sqrt(variance + eps) * gain + bias)
    return np.array(rows)


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(0.0, x),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


def position_encoding(length: int, width: int, *, layout: str) -> Array:
    """Section 3.5. interleaved: channels 2i and 2i+1 are sine and cosine; halves: all sines first."""
    table = np.zeros((length, width))
    for position in range(length):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            sine, cosine = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, width // 2 + i)
            table[position, sine], table[position, cosine] = math.sin(angle), math.cos(angle)
    return table


@dataclass(frozen=True)
class Reference:
    """Encoder and decoder for one sentence at a time."""

    weights: Mapping[str, Array]
    heads: int
    encoder_layers: int
    decoder_layers: int
    activation: str = "relu"
    norm: str = "post"
    layout: str = "interleaved"

    def encode(self, source: list[int]) -> Array:
        x = self._embed("encoder.embedding", source)
        everything = np.ones((len(source), len(source)), dtype=bool)
        for n in range(self.encoder_layers):
            name = f"encoder.layers.{n}"
            x = self._residual(f"{name}.self_attention_residual", x, self._self_attention(name, everything))
            x = self._residual(f"{name}.feed_forward_residual", x, self._feed_forward(name))
        return self._final("encoder.norm", x)

    def logits(self, target_in: list[int], memory: Array) -> Array:
        x = self._embed("target_embedding", target_in)
        past = np.array([[j <= i for j in range(len(target_in))] for i in range(len(target_in))])
        everything = np.ones((len(target_in), len(memory)), dtype=bool)
        for n in range(self.decoder_layers):
            name = f"decoder.{n}"
            x = self._residual(f"{name}.self_attention_residual", x, self._self_attention(name, past))
            x = self._residual(
                f"{name}.cross_attention_residual", x, self._cross_attention(name, memory, everything)
            )
            x = self._residual(f"{name}.feed_forward_residual", x, self._feed_forward(name))
        return self._final("decoder_norm", x) @ self.weights["output.weight"].T

    def _embed(self, name: str, tokens: list[int]) -> Array:
        """Section 3.4: embeddings times sqrt(d_model), positions added."""
        matrix = self.weights[f"{name}.tokens.weight"]
        width = matrix.shape[1]
        rows = np.array([matrix[token] * math.sqrt(width) for token in tokens])
        return rows + position_encoding(len(tokens), width, layout=self.layout)

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        return layer_norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _residual(self, name: str, x: Array, sublayer: Callable[[Array], Array]) -> Array:
        if self.norm == "post":
            return self._norm(f"{name}.norm", x + sublayer(x))
        return x + sublayer(self._norm(f"{name}.norm", x))

    def _final(self, name: str, x: Array) -> Array:
        return self._norm(name, x) if self.norm == "pre" else x

    def _output(self, name: str) -> tuple[Array, Array]:
        return self.weights[f"{name}.output.weight"], self.weights[f"{name}.output.bias"]

    def _self_attention(self, layer: str, visible: NDArray[np.bool_]) -> Callable[[Array], Array]:
        name = f"{layer}.self_attention"

        def run(x: Array) -> Array:
            query, key, value = np.split(self._linear(f"{name}.query_key_value", x), 3, axis=1)
            return multi_head(query, key, value, self._output(name), heads=self.heads, visible=visible)

        return run

    def _cross_attention(
        self, layer: str, memory: Array, visible: NDArray[np.bool_]
    ) -> Callable[[Array], Array]:
        name = f"{layer}.cross_attention"

        def run(x: Array) -> Array:
            query = self._linear(f"{name}.query", x)
            key, value = np.split(self._linear(f"{name}.key_value", memory), 2, axis=1)
            return multi_head(query, key, value, self._output(name), heads=self.heads, visible=visible)

        return run

    def _feed_forward(self, layer: str) -> Callable[[Array], Array]:
        """Equation 2."""
        name = f"{layer}.feed_forward"

        def run(x: Array) -> Array:
            inner = np.vectorize(ACTIVATIONS[self.activation])(self._linear(f"{name}.inner", x))
            return self._linear(f"{name}.outer", inner)

        return run
