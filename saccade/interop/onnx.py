"""ONNX: encoder and cached decoder step as two graphs, which search drives through onnxruntime.

`onnx_nonautoregressive.py` does the same for non-autoregressive models.

encoder.onnx   source (sentences, source) ids, lengths (sentences,)
               -> keys, values (layers, sentences, heads, source, d) of cross-attention
decoder.onnx   token (sentences, hypotheses) ids, position (sentences, hypotheses), past_keys, past_values
               (layers, rows, heads, past, d), keys, values, lengths
               -> logits (rows, vocabulary), new_keys, new_values (layers, rows, heads, past + 1, d)

Rows are sentences times hypotheses. A row sees the last `position` of the past keys; those before them belong
to sentences that began earlier. (Graphs of earlier versions have one position for all rows, so that sentences
cannot join a batch.) The search is the same as for Saccade's own engine.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from saccade.decoding.autoregressive import SearchDecoder
from saccade.interop.exported import Exported, about_transformer, position_table, transformer_of
from saccade.interop.graphs import DECODER, ENCODER, export_graph, require_exporter, run, sessions
from saccade.model_folder.checkpoint import Model
from saccade.models.transformer import Transformer
from saccade.nn.cache import KeyValueCache
from saccade.nn.embedding import Embedding
from saccade.nn.joining import join_padded
from saccade.nn.layers import DecoderLayer
from saccade.nn.rows import RowLayout, Rows


def about_onnx(model: Model) -> dict[str, Any]:
    """The model's entries in export.json; raises UserError for one that the graphs cannot express."""
    return about_transformer(model, target="onnx")


def write_onnx(model: Model, folder: Path) -> None:
    """Writes both graphs to an existing folder; raises UserError if the packages are missing."""
    require_exporter()
    network = transformer_of(model, target="onnx")
    network = deepcopy(network).float().cpu().eval()
    config = network.config
    layers, heads, width = config.decoder_layers, config.heads, config.width // config.heads
    source, lengths = torch.zeros(2, 5, dtype=torch.int64), torch.tensor([5, 3])
    sentences, length, past = (torch.export.Dim(name) for name in ("sentences", "source", "past"))
    cross = torch.zeros(layers, 2, heads, 5, width)
    before = torch.zeros(layers, 6, heads, 4, width)
    token = torch.zeros(2, 3, dtype=torch.int64)
    memory_shape = {1: sentences, 3: length}
    rows = torch.export.Dim.AUTO
    export_graph(
        _Encoder(network),
        (source, lengths),
        folder / ENCODER,
        shapes=({0: sentences, 1: length}, {0: sentences}),
        inputs=["source", "lengths"],
        outputs=["keys", "values"],
    )
    export_graph(
        _Step(network),
        # Clones, because the exporter would merge inputs that are the same tensor.
        (token, torch.full((2, 3), 4), before, before.clone(), cross, cross.clone(), lengths),
        folder / DECODER,
        shapes=(
            {0: rows, 1: rows},
            {0: rows, 1: rows},
            {1: rows, 3: past},
            {1: rows, 3: past},
            memory_shape,
            memory_shape,
            {0: rows},
        ),
        inputs=["token", "position", "past_keys", "past_values", "keys", "values", "lengths"],
        outputs=["logits", "new_keys", "new_values"],
    )


class _Graph(nn.Module):
    """A part of the network with its table of positions."""

    positions: Tensor

    def __init__(self, network: Transformer, embedding: Embedding) -> None:
        super().__init__()
        self.network = network
        self.tokens, self.scale = embedding.tokens, embedding.scale
        self.register_buffer("positions", position_table(network, embedding))

    def visible(self, lengths: Tensor, length: int) -> Tensor:
        """See `padding_mask`, which would omit the mask for the example lengths."""
        return (torch.arange(length) < lengths[:, None])[:, None, None, :]


class _Encoder(_Graph):
    def __init__(self, network: Transformer) -> None:
        super().__init__(network, network.encoder.embedding)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        network, visible = self.network, self.visible(lengths, source.size(1))
        x = self.tokens(source) * self.scale + self.positions[: source.size(1)]
        for layer in network.encoder.layers:
            x = layer(x, visible=visible)
        x = network.encoder.norm(x)
        pairs = [cast(Any, layer).cross_attention.project_memory(x) for layer in network.decoder]
        return torch.stack([key for key, _ in pairs]), torch.stack([value for _, value in pairs])


class _Step(_Graph):
    def __init__(self, network: Transformer) -> None:
        super().__init__(network, network.target_embedding)

    def forward(  # noqa: PLR0917 - a graph takes its inputs by position
        self,
        token: Tensor,
        position: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        network, visible = self.network, self.visible(lengths, keys.size(3))
        x = self.tokens(token) * self.scale + self.positions[position]
        layout = _Grid((token.size(0), token.size(1)))
        x = layout.flat(x)
        caches = [
            _Growing(key, value, key.size(2), position.flatten())
            for key, value in zip(past_keys, past_values, strict=True)
        ]
        for layer, cache, key, value in zip(network.decoder, caches, keys, values, strict=True):
            x = cast(DecoderLayer, layer).step(x, (key, value), visible=visible, cache=cache, layout=layout)
        logits = network.output(network.decoder_norm(x))
        return logits, torch.stack([one.keys for one in caches]), torch.stack([one.values for one in caches])


class _Growing(KeyValueCache):
    """A cache that grows by copying, because a graph cannot write in place."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.keys, self.values = torch.cat([self.keys, key], 2), torch.cat([self.values, value], 2)
        self.length, self.position = self.keys.size(2), self.position + 1
        return self.keys, self.values


class _Grid(RowLayout):
    """A layout with equally many rows for each sentence. counts: numbers of sentences and rows, symbolic."""

    def grid(self, x: Tensor) -> Tensor:
        return x.view(*self.counts, x.size(-1))

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1)


@dataclass(frozen=True)
class _Memory:
    keys: Tensor
    values: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class _State:
    """See `models.interface.State`; the graphs have layers first and need a full grid of rows.

    past_keys, past_values (layers, sentences * layout.width, heads, past, d); position (sentences,): number
    of tokens of each sentence.
    """

    memory: _Memory
    past_keys: Tensor
    past_values: Tensor
    position: Tensor
    layout: RowLayout

    def select(self, rows: Rows) -> "_State":
        memory, position, kept = self.memory, self.position, rows.sentences
        if kept is not None:
            keys, values = (x.index_select(1, kept) for x in (memory.keys, memory.values))
            memory = _Memory(keys, values, memory.lengths.index_select(0, kept))
            position = position[kept]
        places = torch.arange(self.past_keys.size(1)).view(self.layout.sentences, -1)
        index = rows.layout.grid(self.layout.flat(places)[rows.index]).flatten()
        gone = self.past_keys.size(3) - int(position.max())
        keys, values = (x[:, :, :, gone:].index_select(1, index) for x in (self.past_keys, self.past_values))
        return _State(memory, keys, values, position, rows.layout)

    def join(self, fresh: "_State") -> "_State":
        own, new, layout = self.memory, fresh.memory, self.layout.joined(fresh.layout)
        memory = _Memory(
            _join_sentences(own.keys, new.keys),
            _join_sentences(own.values, new.values),
            torch.cat([own.lengths, new.lengths]),
        )
        more = layout.sentences * layout.width - self.past_keys.size(1)
        keys, values = (pad(x, (0, 0, 0, 0, 0, 0, 0, more)) for x in (self.past_keys, self.past_values))
        return _State(memory, keys, values, torch.cat([self.position, fresh.position]), layout)


def _join_sentences(own: Tensor, new: Tensor) -> Tensor:
    """Joins the keys or values of two batches, (layers, sentences, heads, source, d)."""
    return join_padded(own.transpose(0, 1), new.transpose(0, 1), axis=3).transpose(0, 1)


class OnnxTransformer:
    """The two graphs of a folder as an `IncrementalDecoder`."""

    concurrent = False

    def __init__(self, exported: Exported, folder: Path, *, threads: int | None = None) -> None:
        """Raises UserError if onnxruntime is missing or cannot load the graphs."""
        self.vocabulary = exported.vocabulary
        self.max_source_length = self.max_target_length = exported.longest
        self._encoder, self._decoder = sessions(folder, threads=threads)
        positions = next(one for one in self._decoder.get().get_inputs() if one.name == "position")
        self.joins = len(positions.shape) > 0

    def encode(self, source: Tensor, source_lengths: Tensor) -> _Memory:
        """See `IncrementalDecoder.encode`."""
        keys, values = run(self._encoder, source=source, lengths=source_lengths)
        return _Memory(keys, values, source_lengths)

    def start(self, memory: _Memory, max_length: int) -> _State:  # noqa: ARG002 - the graphs' cache grows
        """See `IncrementalDecoder.start`."""
        layers, sentences, heads, _, width = memory.keys.shape
        nothing = torch.zeros(layers, sentences, heads, 0, width)
        position = torch.zeros(sentences, dtype=torch.int64)
        return _State(memory, nothing, nothing, position, RowLayout.even(sentences, 1))

    def step(self, token: Tensor, state: _State) -> tuple[Tensor, _State]:
        """See `IncrementalDecoder.step`."""
        memory, layout = state.memory, state.layout
        position = state.position[:, None].expand(-1, layout.width).contiguous()
        logits, keys, values = run(
            self._decoder,
            token=layout.grid(token),
            position=position if self.joins else torch.tensor(state.past_keys.size(3)),
            past_keys=state.past_keys,
            past_values=state.past_values,
            keys=memory.keys,
            values=memory.values,
            lengths=memory.lengths,
        )
        logits = layout.flat(logits.view(layout.sentences, layout.width, -1))
        return logits, replace(state, past_keys=keys, past_values=values, position=state.position + 1)


def onnx_decoder(graphs: OnnxTransformer) -> SearchDecoder:
    """The decoder that runs search over the exported graphs."""
    return SearchDecoder(
        lambda: graphs,
        graphs.vocabulary,
        max_source_length=graphs.max_source_length,
        max_target_length=graphs.max_target_length,
    )
