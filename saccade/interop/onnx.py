"""ONNX: encoder and one cached decoder step as two graphs, and onnxruntime as what search drives.

`onnx_nonautoregressive.py` does the same for models that write all positions at once.

encoder.onnx   source (sentences, source) ids, lengths (sentences,)
               -> keys, values (layers, sentences, heads, source, d): what cross-attention reads
decoder.onnx   token (sentences, hypotheses) ids, position (), past_keys, past_values (layers, rows, heads,
               past, d), keys, values, lengths
               -> logits (rows, vocabulary), new_keys, new_values (layers, rows, heads, past + 1, d)

Rows are sentences times hypotheses. The search is ours: the same for both engines.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.checkpoint import Model
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.interop.exported import Exported, about_transformer, position_table, transformer_of
from saccade.interop.graphs import DECODER, ENCODER, export_graph, require_exporter, run, sessions
from saccade.models.interface import select_sentences
from saccade.models.transformer import Transformer
from saccade.nn.cache import KeyValueCache
from saccade.nn.embedding import Embedding


def about_onnx(model: Model) -> dict[str, Any]:
    """What export.json says of the model; UserError for one that the graphs can't express."""
    return about_transformer(model, target="onnx")


def write_onnx(model: Model, folder: Path) -> None:
    """Write both graphs into an existing folder; UserError when the packages are missing."""
    require_exporter()
    network = transformer_of(model, target="onnx")
    network = deepcopy(network).float().cpu().eval()
    config = network.config
    layers, heads, width = config.decoder_layers, config.heads, config.width // config.heads
    source, lengths = torch.zeros(2, 5, dtype=torch.int64), torch.tensor([5, 3])
    sentences, length, past = (torch.export.Dim(name) for name in ("sentences", "source", "past"))
    remembered = torch.zeros(layers, 2, heads, 5, width)
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
        # Clones: the exporter takes one tensor given twice for one input.
        (token, torch.tensor(4), before, before.clone(), remembered, remembered.clone(), lengths),
        folder / DECODER,
        shapes=(
            {0: rows, 1: rows},
            {},
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
    """The network with its tables of positions."""

    positions: Tensor

    def __init__(self, network: Transformer, embedding: Embedding) -> None:
        super().__init__()
        self.network = network
        self.tokens, self.scale = embedding.tokens, embedding.scale
        self.register_buffer("positions", position_table(network, embedding))

    def visible(self, lengths: Tensor, length: int) -> Tensor:
        """See `padding_mask`, which would leave out a mask that these lengths don't need."""
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
        caches = [_Growing(key, value) for key, value in zip(past_keys, past_values, strict=True)]
        for layer, cache, key, value in zip(network.decoder, caches, keys, values, strict=True):
            x = layer(x, (key, value), visible=visible, cache=cache)
        logits = network.output(network.decoder_norm(x)).flatten(0, 1)
        return logits, torch.stack([one.keys for one in caches]), torch.stack([one.values for one in caches])


class _Growing(KeyValueCache):
    """A cache that grows by copies: a graph has no memory to write in place."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.keys, self.values = torch.cat([self.keys, key], 2), torch.cat([self.values, value], 2)
        return self.keys, self.values


@dataclass(frozen=True)
class _Memory:
    keys: Tensor
    values: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class _State:
    """See `models.interface.State`; the graphs put layers first."""

    memory: _Memory
    past_keys: Tensor
    past_values: Tensor
    sentences: int
    hypotheses: int = 1

    def select(self, rows: Tensor) -> "_State":
        kept = select_sentences(rows, sentences=self.sentences, hypotheses=self.hypotheses)
        memory = self.memory
        if kept is not None:
            keys, values = (x.index_select(1, kept) for x in (memory.keys, memory.values))
            memory = _Memory(keys, values, memory.lengths.index_select(0, kept))
        old = self.past_keys, self.past_values
        past_keys, past_values = (x.index_select(1, rows.flatten()) for x in old)
        return _State(memory, past_keys, past_values, *rows.shape)


class OnnxTransformer:
    """The two graphs of a folder as what search drives; see `IncrementalDecoder`."""

    def __init__(self, exported: Exported, folder: Path, *, threads: int | None = None) -> None:
        """Raises UserError when onnxruntime is missing or can't load the graphs."""
        self.vocabulary = exported.vocabulary
        self.max_source_length = self.max_target_length = exported.longest
        self._encoder, self._decoder = sessions(folder, threads=threads)

    def encode(self, source: Tensor, source_lengths: Tensor) -> _Memory:
        """See `IncrementalDecoder.encode`."""
        keys, values = run(self._encoder, source=source, lengths=source_lengths)
        return _Memory(keys, values, source_lengths)

    def start(self, memory: _Memory, max_length: int) -> _State:  # noqa: ARG002 - the graphs' cache grows
        """See `IncrementalDecoder.start`."""
        layers, sentences, heads, _, width = memory.keys.shape
        nothing = torch.zeros(layers, sentences, heads, 0, width)
        return _State(memory, nothing, nothing, sentences)

    def step(self, token: Tensor, state: _State) -> tuple[Tensor, _State]:
        """See `IncrementalDecoder.step`."""
        memory = state.memory
        logits, keys, values = run(
            self._decoder,
            token=token.view(state.sentences, state.hypotheses),
            position=torch.tensor(state.past_keys.size(3)),
            past_keys=state.past_keys,
            past_values=state.past_values,
            keys=memory.keys,
            values=memory.values,
            lengths=memory.lengths,
        )
        return logits, replace(state, past_keys=keys, past_values=values)


class OnnxDecoder(Decoder):
    """Searches with the exported graphs."""

    options = DecodingConfig

    def __init__(self, graphs: OnnxTransformer) -> None:
        self.graphs, self.vocabulary = graphs, graphs.vocabulary
        self.max_source_length, self.max_target_length = graphs.max_source_length, graphs.max_target_length

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        return search(self.graphs, source, source_lengths, options=options, lines=lines, prefixes=prefixes)
