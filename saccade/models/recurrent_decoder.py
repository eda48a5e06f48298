"""Two recurrent decoders: one attends before its cell (Bahdanau et al. 2015), one after (Luong et al. 2015).

Both map target embeddings to the input of the output layer: `forward` for all positions, `step` for the next
one, through the same cells.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from saccade.nn.joining import join_masks, join_padded
from saccade.nn.linear import Linear
from saccade.nn.recurrence import GATES, Cell, Hidden, Recurrence
from saccade.nn.rows import RowLayout, Rows
from saccade.nn.scores import Alignment, ProjectedMemory


@dataclass
class RecurrentState:
    """The decoding state.

    Per sentence: annotations, their keys and mask. Per hypothesis: the layers' hidden states and, with input
    feeding, the attentional vector.
    """

    memory: ProjectedMemory
    visible: Tensor | None
    hidden: Hidden
    vector: Tensor | None
    layout: RowLayout

    def select(self, rows: Rows) -> "RecurrentState":
        """See `State.select`."""
        memory, visible, flat, kept = self.memory, self.visible, rows.index, rows.sentences
        if kept is not None:
            memory = (memory[0].index_select(0, kept), memory[1].index_select(0, kept))
            visible = None if visible is None else visible.index_select(0, kept)
        hidden = [tuple(part.index_select(0, flat) for part in layer) for layer in self.hidden]
        vector = None if self.vector is None else self.vector.index_select(0, flat)
        return RecurrentState(memory, visible, hidden, vector, rows.layout)

    def join(self, fresh: "RecurrentState") -> "RecurrentState":
        """See `State.join`."""
        memory, visible = self.memory, self.visible
        sizes = memory[1].shape[:2], fresh.memory[1].shape[:2]
        hidden = [
            tuple(torch.cat(parts) for parts in zip(own, new, strict=True))
            for own, new in zip(self.hidden, fresh.hidden, strict=True)
        ]
        vector = self.vector
        if vector is not None and fresh.vector is not None:
            vector = torch.cat([vector, fresh.vector])
        return RecurrentState(
            (
                join_padded(memory[0], fresh.memory[0], axis=1),
                join_padded(memory[1], fresh.memory[1], axis=1),
            ),
            join_masks(visible, fresh.visible, sizes=sizes),
            hidden,
            vector,
            self.layout.joined(fresh.layout),
        )

    def context(self, attention: Alignment, query: Tensor) -> Tensor:
        """Attention contexts (rows, context) of the queries (rows, width), each over its own sentence."""
        found: Tensor = attention(self.layout.grid(query), self.memory, visible=self.visible)
        return self.layout.flat(found)


class EarlyDecoder(nn.Module):
    """The decoder of Bahdanau et al.: s_i = cell(s_{i-1}, [E y_{i-1}; c_i]), where s_{i-1} is the query.

    A maxout layer reads s_i, E y_{i-1} and c_i. Without attention c_i is the encoder's fixed vector (Cho et
    al. 2014). Among several layers, the lowest one queries the attention and reads the context, as in GNMT
    (Wu et al. 2016, section 3).
    """

    def __init__(
        self,
        embedding: int,
        width: int,
        *,
        context: int,
        cell: Cell,
        layers: int,
        dropout: float,
        attention: Alignment | None,
    ) -> None:
        super().__init__()
        self.cells = Recurrence(embedding, width, cell=cell, layers=layers, dropout=dropout)
        self.cross_attention = attention
        self.from_context = Linear(context, GATES[cell] * width, bias=False)
        self.readout = Linear(width + embedding + context, 2 * embedding)
        for gate in self.from_context.weight.data.split(width):
            nn.init.xavier_uniform_(gate)
        nn.init.xavier_uniform_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, embedded: Tensor, state: RecurrentState) -> Tensor:
        """embedded (batch, target, embedding), teacher-forced; returns the same shape."""
        tops, contexts = [], []  # for each position (batch, width) and (batch, context)
        for gates in self.cells.gates(embedded).unbind(1):
            context, state = self._advance(gates, state)
            tops.append(state.hidden[-1][0])
            contexts.append(context)
        return self._read(torch.stack(tops, 1), embedded, torch.stack(contexts, 1))

    def step(self, embedded: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """embedded (rows, embedding) of one token each; returns the same shape and the next state."""
        context, state = self._advance(self.cells.gates(embedded), state)
        return self._read(state.hidden[-1][0], embedded, context), state

    def _advance(self, gates: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        if self.cross_attention is None:
            context = state.layout.spread(state.memory[1][:, 0])
        else:
            context = state.context(self.cross_attention, state.hidden[0][0])
        hidden = self.cells.step(gates + self.from_context(context), state.hidden)
        return context, replace(state, hidden=hidden)

    def _read(self, top: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        """Maxout layer (Goodfellow et al. 2013) over pairs of channels n and n + embedding."""
        first, second = self.readout(torch.cat([top, embedded, context], -1)).chunk(2, -1)
        return torch.maximum(first, second)


class LateDecoder(nn.Module):
    """The decoder of Luong et al.: s_i = cell(s_{i-1}, E y_{i-1}), where s_i is the query.

    The output is the attentional vector a_i = tanh(W [c_i; s_i]). With input feeding the cell also reads
    a_{i-1}, and a_0 = 0. Without it no state depends on attention, so that torch's fused layers read all
    positions at once.
    """

    def __init__(
        self,
        embedding: int,
        width: int,
        *,
        context: int,
        cell: Cell,
        layers: int,
        dropout: float,
        attention: Alignment,
        feeding: bool,
    ) -> None:
        super().__init__()
        self.cells = Recurrence(embedding, width, cell=cell, layers=layers, dropout=dropout)
        self.cross_attention = attention
        self.from_vector = Linear(embedding, GATES[cell] * width, bias=False) if feeding else None
        self.readout = Linear(context + width, embedding)
        if self.from_vector is not None:
            for gate in self.from_vector.weight.data.split(width):
                nn.init.xavier_uniform_(gate)
        nn.init.xavier_uniform_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, embedded: Tensor, state: RecurrentState) -> Tensor:
        """embedded (batch, target, embedding), teacher-forced; returns the same shape."""
        if self.from_vector is not None:
            vectors: Tensor = self._one_by_one(embedded, state)
            return vectors
        tops = self.cells(embedded, state.hidden)
        return self._read(self.cross_attention(tops, state.memory, visible=state.visible), tops)

    def _one_by_one(self, embedded: Tensor, state: RecurrentState) -> Tensor:
        vectors = []
        for gates in self.cells.gates(embedded).unbind(1):
            vector, state = self._advance(gates, state)
            vectors.append(vector)
        return torch.stack(vectors, 1)

    def step(self, embedded: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """embedded (rows, embedding) of one token each; returns the same shape and the next state."""
        return self._advance(self.cells.gates(embedded), state)

    def _advance(self, gates: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        if self.from_vector is not None and state.vector is not None:
            gates = gates + self.from_vector(state.vector)
        hidden = self.cells.step(gates, state.hidden)
        top = hidden[-1][0]
        vector = self._read(state.context(self.cross_attention, top), top)
        return vector, replace(state, hidden=hidden, vector=vector)

    def _read(self, context: Tensor, top: Tensor) -> Tensor:
        vector: Tensor = self.readout(torch.cat([context, top], -1)).tanh()
        return vector
