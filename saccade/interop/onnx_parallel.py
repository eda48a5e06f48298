"""Models that write all words at once as two ONNX graphs, and onnxruntime behind our Translator.

encoder.onnx   source (sentences, source) ids, lengths (sentences,)
               -> keys, values (layers, sentences, heads, source, d): what cross-attention reads
               -> fertilities (sentences, source, classes), or lengths_logits (sentences, classes); logits
decoder.onnx   read (sentences, target): ids of copied source pieces; with mask-predict of the target
               target_lengths (sentences,), keys, values, lengths
               -> logits (sentences, target, vocabulary)

What happens between them, and after, is ours: the same for both engines.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from saccade.interop.graphs import DECODER, ENCODER, export_graph, run, sessions
from saccade.models import build_model
from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import NonAutoregressive, NonAutoregressiveConfig, ParallelMemory
from saccade.nn.attention import SelfAttention
from saccade.nn.positions import sinusoids


def write_parallel_onnx(network: NonAutoregressive, folder: Path) -> None:
    """Write both graphs into an existing folder."""
    network = deepcopy(network).float().cpu().eval()
    config = network.config
    shape = config.decoder_layers, 2, config.heads, 5, config.width // config.heads
    source, lengths = torch.zeros(2, 5, dtype=torch.int64), torch.tensor([5, 3])
    sentences, length, target = (torch.export.Dim(name) for name in ("sentences", "source", "target"))
    rows: dict[int, Any] = {0: sentences}
    both = {**rows, 1: length}
    remembered = {1: sentences, 3: length}
    export_graph(
        _Encoder(network),
        (source, lengths),
        folder / ENCODER,
        shapes=(both, rows),
        inputs=["source", "lengths"],
        outputs=["keys", "values", *_CHOICES[config.decoder]],
    )
    inputs = {
        "read": (torch.zeros(2, 7, dtype=torch.int64), {**rows, 1: target}),
        "target_lengths": (torch.tensor([7, 4]), rows),
        "keys": (torch.zeros(shape), remembered),
        "values": (torch.zeros(shape), remembered),
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


_CHOICES = {"fertility": ["fertilities"], "mask-predict": ["lengths_logits"], "ctc": []}


class _Encoder(nn.Module):
    def __init__(self, network: NonAutoregressive) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        network: Any = self.network
        scheme, embedding = network.scheme, network.source_embedding
        x = embedding.scaled(source) + sinusoids(source.size(1), network.config.width)
        read = lengths
        if scheme == "mask-predict":
            x = torch.cat([network.length_token.expand(source.size(0), 1, -1), x], 1)
            read = lengths + 1
        visible = _real(read, x.size(1))
        for layer in network.encoder:
            x = layer(x, visible=visible)
        x = network.encoder_norm(x)
        states = x[:, 1:] if scheme == "mask-predict" else x
        pairs = [layer.cross_attention.project_memory(states) for layer in network.decoder]
        found = torch.stack([key for key, _ in pairs]), torch.stack([value for _, value in pairs])
        if scheme == "mask-predict":
            return *found, network.length(x[:, 0])
        return (*found, network.fertility(x)) if scheme == "fertility" else found


class _Decoder(nn.Module):
    def __init__(self, network: NonAutoregressive) -> None:
        super().__init__()
        self.network = network
        if not network.sees_itself:
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
        network: Any = self.network
        target = read.size(1)
        masked = network.scheme == "mask-predict"
        embedding = network.target_embedding if masked else network.source_embedding
        places = sinusoids(target, network.config.width)
        real = _real(target_lengths, target)
        seen = real if network.sees_itself else real & ~torch.eye(target, dtype=torch.bool)
        visible, x = _real(lengths, keys.size(3)), embedding.scaled(read) + places
        for layer, key, value in zip(network.decoder, keys, values, strict=True):
            x = layer(x, (key, value), places, seen=seen, real=real, visible=visible)
        logits: Tensor = network.output(network.decoder_norm(x))
        return logits


class _Alone(nn.Module):
    """Self-attention in which a position that sees nobody gets nothing, as ours; a graph gives it NaN."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, *, visible: Tensor) -> Tensor:
        """visible (batch, 1, target, target)."""
        anyone = visible.any(-1, keepdim=True)
        mixed = self.attention(x, visible=visible | ~anyone)
        return torch.where(anyone[:, 0], mixed, self.attention.output.bias)


def _real(lengths: Tensor, longest: int) -> Tensor:
    """See `padding_mask`, which would leave out a mask that these lengths don't need."""
    return (torch.arange(longest) < lengths[:, None])[:, None, None, :]


@dataclass(frozen=True)
class _Remembered:
    """See `ParallelMemory.remembered`."""

    keys: Tensor
    values: Tensor

    def select(self, sentences: Tensor) -> _Remembered:
        return _Remembered(self.keys[:, sentences], self.values[:, sentences])


class _Logits(nn.Identity):
    """What the graph gives are logits already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.out_features = size


def open_parallel_onnx(
    config: NonAutoregressiveConfig, vocabulary: Vocabulary, folder: Path, *, threads: int | None
) -> NonAutoregressive:
    """The graphs in a folder as a model to decode with; UserError when onnxruntime can't load them."""
    encoder, decoder = sessions(folder, threads=threads)
    with torch.device("meta"):
        network: Any = build_model(config, vocabulary)

    def encode(source: Tensor, source_lengths: Tensor) -> ParallelMemory:
        keys, values, *choices = run(encoder, source=source, lengths=source_lengths)
        # What a layer would make of states or summary; of CTC nothing.
        states = choices[0] if choices else keys
        return ParallelMemory(states, _Remembered(keys, values), source, source_lengths, states)

    def decode(read: Tensor, lengths: Tensor, memory: ParallelMemory) -> Tensor:
        [logits] = run(
            decoder,
            read=read,
            target_lengths=lengths,
            keys=memory.remembered.keys,
            values=memory.remembered.values,
            lengths=memory.source_lengths,
        )
        return logits

    for name, _ in list(network.named_parameters(recurse=False)):
        delattr(network, name)
    for name, _ in list(network.named_children()):
        setattr(network, name, nn.Identity())
    network.output = _Logits(vocabulary.target_size)
    network.encode, network.decode = encode, decode
    return cast(NonAutoregressive, network.eval())
