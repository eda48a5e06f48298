"""Recurrent encoder-decoders with plain loops in float64, one sentence at a time, written from the papers.

Bahdanau et al. 2015 (arXiv 1409.0473), Luong et al. 2015 (arXiv 1508.04025), Cho et al. 2014 (arXiv
1406.1078). Vectors are numpy float64; `weights` maps the parameter names of `saccade.models.recurrent` to
arrays. The GRU is torch's, with the reset gate behind the product. Nothing here imports torch or saccade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.reference.transformer import softmax

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return np.array([1 / (1 + math.exp(-float(value))) for value in x])


def tanh(x: Array) -> Array:
    return np.array([math.tanh(float(value)) for value in x])


@dataclass(frozen=True)
class Reference:
    """Encoder and decoder for one sentence at a time."""

    weights: Mapping[str, Array]
    cell: str
    attention: str
    feeding: bool
    encoder_layers: int
    decoder_layers: int

    def encode(self, source: list[int]) -> list[Array]:
        """The annotations h_j = [forward; backward] of the last layer."""
        x = [self._embed("source_embedding", token) for token in source]
        for n in range(self.encoder_layers):
            ahead = self._run(f"encoder.ahead.{n}", x)
            back = self._run(f"encoder.back.{n}", x[::-1])[::-1]
            x = [np.concatenate(pair) for pair in zip(ahead, back, strict=True)]
        return x

    def logits(self, target_in: list[int], annotations: list[Array]) -> tuple[Array, Array]:
        """Logits (target, vocabulary) and attention weights (target, source)."""
        width = len(annotations[0]) // 2
        first_backward, last_forward = annotations[0][width:], annotations[-1][:width]
        fixed = None
        summary = first_backward
        if self.attention == "none":
            fixed = summary = tanh(self._linear("compress", np.concatenate([last_forward, first_backward])))
        states = self._first_states(summary)
        embedding = self.weights["target_embedding.tokens.weight"].shape[1]
        vector = np.zeros(embedding)
        rows, looks = [], []
        for token in target_in:
            embedded = self._embed("target_embedding", token)
            if self.attention in ("additive", "none"):  # the context comes before the cell
                look = [1.0]
                context = fixed
                if fixed is None:
                    look, context = self._attend(states[0][0], annotations)
                assert context is not None
                extra = self.weights["decoder.from_context.weight"] @ context
                states = self._step(embedded, extra, states)
                parts = np.concatenate([states[-1][0], embedded, context])
                pairs = self._linear("decoder.readout", parts)
                vector = np.array([max(pairs[i], pairs[i + embedding]) for i in range(embedding)])
            else:  # the context comes after it, and goes into the next step by way of the vector
                gates = len(self.weights["decoder.cells.layers.0.bias_ih_l0"])
                extra = np.zeros(gates)
                if self.feeding:
                    extra = self.weights["decoder.from_vector.weight"] @ vector
                states = self._step(embedded, extra, states)
                look, context = self._attend(states[-1][0], annotations)
                vector = tanh(self._linear("decoder.readout", np.concatenate([context, states[-1][0]])))
            rows.append(self.weights["output.weight"] @ vector)
            looks.append(look)
        return np.array(rows), np.array(looks)

    def score(self, state: Array, annotation: Array) -> float:
        """Bahdanau et al., section 3.1 and appendix A.1.2; Luong et al., equation 8."""
        name = "decoder.cross_attention"
        if self.attention == "dot":
            return math.fsum(float(a) * float(b) for a, b in zip(state, annotation, strict=True))
        if self.attention == "general":
            return float(state @ (self.weights[f"{name}.key.weight"] @ annotation))
        matrix = np.concatenate(
            [self.weights[f"{name}.query.weight"], self.weights[f"{name}.key.weight"]], axis=1
        )
        hidden = tanh(matrix @ np.concatenate([state, annotation]))
        return math.fsum(
            float(a) * float(b) for a, b in zip(self.weights[f"{name}.score"], hidden, strict=True)
        )

    def _attend(self, state: Array, annotations: list[Array]) -> tuple[list[float], Array]:
        look = softmax([self.score(state, annotation) for annotation in annotations])
        context = np.zeros(len(annotations[0]))
        for weight, annotation in zip(look, annotations, strict=True):
            context = context + weight * annotation
        return look, context

    def _first_states(self, summary: Array) -> list[tuple[Array, ...]]:
        parts = 2 if self.cell == "lstm" else 1
        pieces = np.split(tanh(self._linear("initial", summary)), self.decoder_layers * parts)
        return [tuple(pieces[n * parts : (n + 1) * parts]) for n in range(self.decoder_layers)]

    def _step(self, x: Array, extra: Array, states: list[tuple[Array, ...]]) -> list[tuple[Array, ...]]:
        """extra: what the lowest layer's gates get besides the embedding."""
        new: list[tuple[Array, ...]] = []
        for n, state in enumerate(states):
            new.append(self._cell(f"decoder.cells.layers.{n}", x, state, extra if n == 0 else 0 * extra))
            x = new[-1][0]
        return new

    def _run(self, name: str, x: list[Array]) -> list[Array]:
        width = self.weights[f"{name}.weight_hh_l0"].shape[1]
        state: tuple[Array, ...] = (np.zeros(width),) * (2 if self.cell == "lstm" else 1)
        out = []
        for one in x:
            state = self._cell(name, one, state, np.zeros(len(self.weights[f"{name}.bias_ih_l0"])))
            out.append(state[0])
        return out

    def _cell(self, name: str, x: Array, state: tuple[Array, ...], extra: Array) -> tuple[Array, ...]:
        of_input = self.weights[f"{name}.weight_ih_l0"] @ x + self.weights[f"{name}.bias_ih_l0"] + extra
        of_state = self.weights[f"{name}.weight_hh_l0"] @ state[0] + self.weights[f"{name}.bias_hh_l0"]
        if self.cell == "gru":
            (reset_x, update_x, new_x), (reset_h, update_h, new_h) = (
                np.split(of_input, 3),
                np.split(of_state, 3),
            )
            reset, update = sigmoid(reset_x + reset_h), sigmoid(update_x + update_h)
            new = tanh(new_x + reset * new_h)
            return ((1 - update) * new + update * state[0],)
        take, forget, new, give = np.split(of_input + of_state, 4)
        memory = sigmoid(forget) * state[1] + sigmoid(take) * tanh(new)
        return sigmoid(give) * tanh(memory), memory

    def _embed(self, name: str, token: int) -> Array:
        matrix = self.weights[f"{name}.tokens.weight"]
        row: Array = matrix[token] * math.sqrt(matrix.shape[1])
        return row

    def _linear(self, name: str, x: Array) -> Array:
        out: Array = self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]
        return out
