"""ONNX: non-autoregressive models as two graphs, which onnxruntime runs as the body of a scheme.

encoder.onnx   source (sentences, source) ids, lengths (sentences,)
               -> keys, values (layers, sentences, heads, source, d) of cross-attention
               -> predicted, the logits of `Body.predict`: (sentences, source, classes) of fertilities or
               (sentences, classes) of lengths
decoder.onnx   read (sentences, target): ids of copied source pieces, or of the target with mask-predict
               target_lengths (sentences,), keys, values, lengths
               -> logits (sentences, target, vocabulary)

The steps between and after them are the same as for Saccade's own engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.errors import Unsupported
from saccade.interop.exported import Exported
from saccade.interop.graphs import DECODER, ENCODER, export_graph, require_exporter, run, sessions
from saccade.model_folder.checkpoint import Model
from saccade.models.nonautoregressive import SCHEMES
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.interface import SourceMemory
from saccade.models.nonautoregressive.network import NonAutoregressiveTransformer
from saccade.nn.argmax import argmax_log_probs
from saccade.nn.attention import SelfAttention
from saccade.nn.nonautoregressive import NonAutoregressiveDecoderLayer
from saccade.nn.positions import sinusoids


def about_nonautoregressive(model: Model) -> dict[str, Any]:
    """The model's entries in export.json: its section `[model]`, because decoding depends on the scheme.

    Raises UserError for a scheme that needs more than the two graphs compute.
    """
    config = cast(NonAutoregressiveConfig, model.config)
    if SCHEMES[config.decoder].links:
        raise Unsupported(
            f'a model with decoder = "{config.decoder}" cannot be exported to ONNX: its graph of links '
            "has no counterpart there. Use it as it is, or export it to saccade."
        )
    return {"model": config.model_dump(mode="json", exclude_none=True)}


def write_nonautoregressive_onnx(model: Model, folder: Path) -> None:
    """Writes both graphs to an existing folder; raises UserError if the packages are missing."""
    require_exporter()
    network = cast(NonAutoregressiveTransformer, deepcopy(model.network).float().cpu().eval())
    config = network.config
    shape = config.decoder_layers, 2, config.heads, 5, config.width // config.heads
    source, lengths = torch.zeros(2, 5, dtype=torch.int64), torch.tensor([5, 3])
    sentences, length, target = (torch.export.Dim(name) for name in ("sentences", "source", "target"))
    rows: dict[int, Any] = {0: sentences}
    both = {**rows, 1: length}
    cross = {1: sentences, 3: length}
    export_graph(
        _Encoder(network),
        (source, lengths),
        folder / ENCODER,
        shapes=(both, rows),
        inputs=["source", "lengths"],
        outputs=["keys", "values", *([] if network.predictor is None else ["predicted"])],
    )
    inputs = {
        "read": (torch.zeros(2, 7, dtype=torch.int64), {**rows, 1: target}),
        "target_lengths": (torch.tensor([7, 4]), rows),
        "keys": (torch.zeros(shape), cross),
        "values": (torch.zeros(shape), cross),
        "lengths": (lengths, rows),
    }
    export_graph(
        _Decoder(network),
        tuple(example for example, _ in inputs.values()),
        folder / DECODER,
        shapes=tuple(dimensions for _, dimensions in inputs.values()),
        inputs=list(inputs),
        outputs=["logits"],
    )


class _Encoder(nn.Module):
    def __init__(self, network: NonAutoregressiveTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        network, encoder = self.network, self.network.encoder
        x = encoder.embedding.scaled(source) + sinusoids(source.size(1), network.config.width)
        if network.sentence_token is not None:
            x = torch.cat([network.sentence_token.expand(source.size(0), 1, -1), x], 1)
            lengths = lengths + 1
        visible = _real(lengths, x.size(1))
        for layer in encoder.layers:
            x = layer(x, visible=visible)
        states = features = encoder.norm(x)
        if network.sentence_token is not None:
            features, states = states[:, 0], states[:, 1:]
        layers = cast(Sequence[NonAutoregressiveDecoderLayer], network.decoder)
        pairs = [layer.cross_attention.project_memory(states) for layer in layers]
        found = torch.stack([key for key, _ in pairs]), torch.stack([value for _, value in pairs])
        return found if network.predictor is None else (*found, network.predictor(features))


class _Decoder(nn.Module):
    def __init__(self, network: NonAutoregressiveTransformer) -> None:
        super().__init__()
        self.network = network
        if not network.scheme.sees_itself:
            for layer in cast(Any, network.decoder):
                layer.self_attention = _Alone(layer.self_attention)

    def forward(
        self,
        read: Tensor,
        target_lengths: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        network, target = self.network, read.size(1)
        places = sinusoids(target, network.config.width)
        real = _real(target_lengths, target)
        seen = real if network.scheme.sees_itself else real & ~torch.eye(target, dtype=torch.bool)
        visible, x = _real(lengths, keys.size(3)), network.reading.scaled(read) + places
        for layer, key, value in zip(network.decoder, keys, values, strict=True):
            x = layer(x, (key, value), places, seen=seen, real=real, visible=visible)
        logits: Tensor = network.output(network.decoder_norm(x))
        return logits


class _Alone(nn.Module):
    """Self-attention that gives zeros to a position without visible keys, where a graph would give NaN."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, *, visible: Tensor) -> Tensor:
        """See `SelfAttention.forward`; visible (batch, 1, target, target)."""
        anyone = visible.any(-1, keepdim=True)
        mixed = self.attention(x, visible=visible | ~anyone)
        return torch.where(anyone[:, 0], mixed, self.attention.output.bias)


def _real(lengths: Tensor, longest: int) -> Tensor:
    """See `padding_mask`, which would omit the mask for the example lengths."""
    return (torch.arange(longest) < lengths[:, None])[:, None, None, :]


@dataclass(frozen=True)
class _CrossKeyValues:
    """Keys and values (layers, sentences, heads, source, d) of the decoder's cross-attention."""

    keys: Tensor
    values: Tensor

    def select(self, sentences: Tensor) -> _CrossKeyValues:
        return _CrossKeyValues(self.keys[:, sentences], self.values[:, sentences])


class _Logits(nn.Identity):
    """The output layer of a graph, whose results are logits already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.out_features = size


class OnnxBody:
    """The two graphs of a folder as a `Body`."""

    def __init__(self, exported: Exported, folder: Path, *, threads: int | None) -> None:
        """Raises UserError if onnxruntime is missing or cannot load the graphs."""
        self.config, self.vocabulary = cast(NonAutoregressiveConfig, exported.config), exported.vocabulary
        self.output = _Logits(exported.vocabulary.target_size)
        self._encoder, self._decoder = sessions(folder, threads=threads)

    def argmax(self, hidden: Tensor, *, never: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Body.argmax`."""
        return argmax_log_probs(self.output, hidden, size=self.output.out_features, never=never)

    def encode(self, source: Tensor, source_lengths: Tensor) -> SourceMemory[_CrossKeyValues]:
        """See `Body.encode`. The features are the logits of `predict`, which the encoder's graph computes."""
        keys, values, *logits = run(self._encoder, source=source, lengths=source_lengths)
        features = logits[0] if logits else None
        return SourceMemory(source, source_lengths, _CrossKeyValues(keys, values), features)

    def predict(self, memory: SourceMemory[_CrossKeyValues]) -> Tensor:
        """See `Body.predict`."""
        return cast(Tensor, memory.features)

    def decode(
        self,
        read: Tensor,
        lengths: Tensor,
        memory: SourceMemory[_CrossKeyValues],
        *,
        revealed: Tensor | None = None,
    ) -> Tensor:
        """See `Body.decode`; returns logits instead of hidden states."""
        assert revealed is None
        [logits] = run(
            self._decoder,
            read=read,
            target_lengths=lengths,
            keys=memory.cross.keys,
            values=memory.cross.values,
            lengths=memory.source_lengths,
        )
        return logits
