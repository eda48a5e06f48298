"""ConvS2S with plain loops in float64, one sentence at a time, written from the paper.

"Convolutional Sequence to Sequence Learning", Gehring et al. 2017 (arXiv 1705.03122), sections 3.1 to 3.5.
Sentences are lists of numpy float64 rows; `weights` maps the parameter names of
`saccade.models.convolutional` to arrays. Nothing here imports torch or saccade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.reference.transformer import softmax

Array = NDArray[np.float64]
ROOT = math.sqrt(0.5)


@dataclass(frozen=True)
class Reference:
    """Encoder and decoder for one sentence at a time. kernels: of each layer, lowest first."""

    weights: Mapping[str, Array]
    encoder_kernels: list[int]
    decoder_kernels: list[int]

    def encode(self, source: list[int]) -> tuple[list[Array], list[Array]]:
        """Section 3.3: encoder outputs z_j and embeddings e_j."""
        embedded = self._embed("source_embedding", source)
        x = [self._linear("enter", row) for row in embedded]
        for n, kernel in enumerate(self.encoder_kernels):
            # As many positions before as behind; with an even kernel one more behind.
            before = (kernel - 1) // 2
            convolved = self._gated(f"encoder.{n}", x, kernel, first=-before)
            x = [(a + self._project(f"encoder.{n}", b)) * ROOT for a, b in zip(convolved, x, strict=True)]
        return [self._linear("leave", row) for row in x], embedded

    def logits(
        self, target_in: list[int], source: tuple[list[Array], list[Array]]
    ) -> tuple[Array, list[Array]]:
        """Logits (target, vocabulary) and the attention weights (target, source) of each layer."""
        embedded = self._embed("target_embedding", target_in)
        x = [self._linear("decoder.enter", row) for row in embedded]
        maps = []
        for n, kernel in enumerate(self.decoder_kernels):
            name = f"decoder.layers.{n}"
            convolved = self._gated(name, x, kernel, first=-(kernel - 1))
            looks, out = [], []
            for i, row in enumerate(convolved):
                look, context = self._attend(f"{name}.cross_attention", row, embedded[i], source)
                looks.append(look)
                out.append(((context + row) * ROOT + self._project(name, x[i])) * ROOT)
            x = out
            maps.append(np.array(looks))
        hidden = [self._linear("decoder.leave", row) for row in x]
        return np.array([self._linear("output", row) for row in hidden]), maps

    def _gated(self, layer: str, x: list[Array], kernel: int, *, first: int) -> list[Array]:
        """Section 3.2: position i sees i + first, ..., i + first + kernel - 1; beyond the ends is zero."""
        name = f"{layer}.convolution.convolution"
        weight, bias = self._weight(name), self.weights[f"{name}.bias"]
        out = []
        for i in range(len(x)):
            both = bias.copy()
            for k in range(kernel):
                j = i + first + k
                if 0 <= j < len(x):
                    both = both + weight[:, :, k] @ x[j]
            a, b = np.split(both, 2)
            out.append(np.array([u / (1 + math.exp(-v)) for u, v in zip(a, b, strict=True)]))
        return out

    def _attend(
        self, name: str, state: Array, embedded: Array, source: tuple[list[Array], list[Array]]
    ) -> tuple[list[float], Array]:
        """Equations of section 3.3, sums halved in variance; the context times m sqrt(1/m) (section 3.5)."""
        query = (self._linear(f"{name}.query", state) + embedded) * ROOT
        scores = [math.fsum(float(a) * float(b) for a, b in zip(query, z, strict=True)) for z in source[0]]
        look = softmax(scores)
        context = np.zeros(len(query))
        for weight, z, e in zip(look, *source, strict=True):
            context = context + weight * (z + e) * ROOT
        m = len(look)
        return look, self._linear(f"{name}.output", context * (m * math.sqrt(1 / m)))

    def _embed(self, name: str, tokens: list[int]) -> list[Array]:
        """Section 3.1: token and position."""
        table, positions = self.weights[f"{name}.tokens.weight"], self.weights[f"{name}.positions.table"]
        return [table[token] + positions[place] for place, token in enumerate(tokens)]

    def _project(self, layer: str, x: Array) -> Array:
        """The residual, brought to the layer's width where that differs."""
        if f"{layer}.project.bias" in self.weights:
            return self._linear(f"{layer}.project", x)
        return x

    def _linear(self, name: str, x: Array) -> Array:
        out: Array = self._weight(name) @ x + self.weights[f"{name}.bias"]
        return out

    def _weight(self, name: str) -> Array:
        """Weight norm (Salimans and Kingma 2016): each output's weights are g v / |v|."""
        if f"{name}.weight" in self.weights:
            return self.weights[f"{name}.weight"]
        gain, direction = (self.weights[f"{name}.parametrizations.weight.original{n}"] for n in (0, 1))
        rows = []
        for g, v in zip(gain, direction, strict=True):
            length = math.sqrt(math.fsum(float(value) ** 2 for value in v.flatten()))
            rows.append(float(g.flatten()[0]) * v / length)
        return np.array(rows)
