"""ConvS2S, the convolutional encoder-decoder (Gehring et al. 2017, "Convolutional Sequence to Sequence
Learning"); sections are of that paper."""

from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from saccade.config import Section
from saccade.models.families import Seq2Seq
from saccade.models.interface import Vocabulary
from saccade.models.tying import resolve_tying
from saccade.nn.cache import per_row
from saccade.nn.convolution import (
    HALF,
    ConvolutionalDecoderLayer,
    ConvolutionalEncoderLayer,
    ProjectedMemory,
    ScaleGradient,
    folded,
    normed_linear,
)
from saccade.nn.dropout import Dropout
from saccade.nn.embedding import Embedding
from saccade.nn.joining import join_masks, join_padded
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.positions import LearnedPositions
from saccade.nn.rows import RowLayout, Rows

_EMBEDDING_STD = 0.1  # section 4.2


class ConvolutionalConfig(Section):
    """Settings of ConvS2S. Width 512 and kernel 3 are the paper's; its models have 15 to 20 layers."""

    kind: Literal["convolutional"] = "convolutional"
    """Kind of model."""
    width: PositiveInt = 512
    """Size of each layer's output; the convolution computes twice as many channels, half of them gates."""
    kernel: PositiveInt = 3
    """Number of positions that a convolution sees; in the decoder, the present one and those before it."""
    encoder_layers: PositiveInt = 12
    """Number of gated convolutions of the encoder."""
    decoder_layers: PositiveInt = 11
    """Number of gated convolutions of the decoder, each with its own attention."""
    top_layers: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """Pairs [width, kernel] of further layers above these, in encoder and decoder. The paper's English-German
    model has 9 layers of width 512, then 4 of [1024, 3] and 2 of [2048, 1]."""
    embedding: PositiveInt = 512
    """Size of embeddings, of attention, and of the vector before the output layer."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout rate on embeddings and on the input of each convolution and the output layer (section 4.2)."""
    max_positions: PositiveInt = 1024
    """Maximum length of source and target in tokens, because positions are learned."""
    tied_embeddings: Literal["all", "target", "none"] | None = None
    """Matrices that are shared: source, target and output (all); target and output (target); none, as
    published, which also gives the output layer weight norm. Unset: as many as the vocabulary allows."""


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "embedding": 128, "encoder_layers": 5, "decoder_layers": 4},
    "small": {"width": 256, "embedding": 256, "encoder_layers": 6, "decoder_layers": 5},
    "base": {},
}


@dataclass(frozen=True)
class ConvolutionalMemory:
    """The encoder's output: keys, values, roots of lengths (see `ProjectedMemory`), and the padding mask."""

    source: ProjectedMemory
    visible: Tensor | None

    def select(self, sentences: Tensor) -> "ConvolutionalMemory":
        """See `SelectableMemory.select`."""
        keys, values, root = (tensor[sentences] for tensor in self.source)
        visible = None if self.visible is None else self.visible[sentences]
        return ConvolutionalMemory((keys, values, root), visible)


class ConvolutionalDecoder(nn.Module):
    """The decoder's layers, from embeddings to vectors of the same size."""

    def __init__(self, config: ConvolutionalConfig) -> None:
        super().__init__()
        embedding, dropout = config.embedding, config.dropout
        sizes = [(config.width, config.kernel)] * config.decoder_layers + list(config.top_layers)
        inputs = [config.width, *(width for width, _ in sizes[:-1])]
        self.enter = normed_linear(embedding, config.width, dropout=dropout)
        self.layers = nn.ModuleList(
            ConvolutionalDecoderLayer(below, width, embedding, kernel=kernel, dropout=dropout)
            for below, (width, kernel) in zip(inputs, sizes, strict=True)
        )
        self.leave = normed_linear(sizes[-1][0], embedding)

    def forward(self, embedded: Tensor, memory: ConvolutionalMemory) -> Tensor:
        """embedded (batch, target, embedding); returns the same shape."""
        x = self.enter(embedded)
        for layer in self._layers():
            x = layer(x, embedded, memory.source, visible=memory.visible)
        hidden: Tensor = self.leave(x)
        return hidden

    def start(self, sentences: int, *, like: Tensor) -> list[Tensor]:
        """The empty past of each layer."""
        return [layer.start(sentences, like=like) for layer in self._layers()]

    def step(
        self, embedded: Tensor, memory: ConvolutionalMemory, past: list[Tensor], *, layout: RowLayout
    ) -> tuple[Tensor, list[Tensor]]:
        """embedded (rows, embedding), one token each; returns the same shape, and the next past."""
        x, following = self.enter(embedded), []
        for layer, window in zip(self._layers(), past, strict=True):
            x, new = layer.step(
                x, embedded, memory.source, visible=memory.visible, past=window, layout=layout
            )
            following.append(new)
        return self.leave(x), following

    def _layers(self) -> list[ConvolutionalDecoderLayer]:
        return cast(list[ConvolutionalDecoderLayer], list(self.layers))


@dataclass
class ConvolutionalState:
    """The decoding state.

    Per sentence: the memory. Per hypothesis: each layer's last kernel - 1 inputs, and the number of tokens
    read, (rows,), or an int if it is the same for all. For all: the decoder and the output layer with their
    weight norms folded into the weights.
    """

    decoder: ConvolutionalDecoder
    output: nn.Linear
    memory: ConvolutionalMemory
    past: list[Tensor]
    layout: RowLayout
    length: int | Tensor = 0

    def select(self, rows: Rows) -> "ConvolutionalState":
        """See `State.select`."""
        memory, length, kept = self.memory, self.length, rows.sentences
        if kept is not None:
            keys, values, root = (tensor.index_select(0, kept) for tensor in memory.source)
            visible = None if memory.visible is None else memory.visible.index_select(0, kept)
            memory = ConvolutionalMemory((keys, values, root), visible)
        past = [window.index_select(0, rows.index) for window in self.past]
        if isinstance(length, Tensor):
            length = length.index_select(0, rows.index)
        return replace(self, memory=memory, past=past, layout=rows.layout, length=length)

    def join(self, fresh: "ConvolutionalState") -> "ConvolutionalState":
        """See `State.join`."""
        own, new = self.memory, fresh.memory
        keys, values, root = (
            join_padded(before, behind, axis=1) for before, behind in zip(own.source, new.source, strict=True)
        )
        sizes = own.source[0].shape[:2], new.source[0].shape[:2]
        memory = ConvolutionalMemory((keys, values, root), join_masks(own.visible, new.visible, sizes=sizes))
        past = [torch.cat(windows) for windows in zip(self.past, fresh.past, strict=True)]
        length = torch.cat(
            [per_row(state.length, state.layout.rows, device=keys.device) for state in (self, fresh)]
        )
        layout = self.layout.joined(fresh.layout)
        return replace(self, memory=memory, past=past, layout=layout, length=length)


class Convolutional(Seq2Seq[ConvolutionalMemory, ConvolutionalState]):
    """The convolutional encoder-decoder."""

    config: ConvolutionalConfig

    joins = True

    def __init__(self, config: ConvolutionalConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        embedding, dropout = config.embedding, config.dropout
        self.source_embedding = self._embedding(vocabulary.source_size)
        self.target_embedding = self._embedding(vocabulary.target_size)
        sizes = [(config.width, config.kernel)] * config.encoder_layers + list(config.top_layers)
        inputs = [config.width, *(width for width, _ in sizes[:-1])]
        self.enter = normed_linear(embedding, config.width, dropout=dropout)
        self.encoder = nn.ModuleList(
            ConvolutionalEncoderLayer(below, width, kernel=kernel, dropout=dropout)
            for below, (width, kernel) in zip(inputs, sizes, strict=True)
        )
        self.leave = normed_linear(sizes[-1][0], embedding)
        self.decoder = ConvolutionalDecoder(config)
        self.dropout = Dropout(dropout)
        self.output = self._output()

    @property
    def max_source_length(self) -> int | None:
        """The number of learned positions."""
        return self.config.max_positions

    @property
    def max_target_length(self) -> int | None:
        """The number of learned positions."""
        return self.config.max_positions

    def forward(self, target_in: Tensor, memory: ConvolutionalMemory) -> Tensor:
        """Teacher-forced logits (batch, target, vocabulary)."""
        logits: Tensor = self.output(self.decode(target_in, memory))
        return logits

    def encode(self, source: Tensor, source_lengths: Tensor) -> ConvolutionalMemory:
        """See `Seq2Seq.encode`."""
        visible = padding_mask(source_lengths, source.size(1))
        real = None if visible is None else visible[:, 0, 0, :, None]  # (batch, source, 1)
        embedded = self.source_embedding(source)
        x = self.enter(embedded)
        for layer in self.encoder:
            x = layer(x, real=real)
        keys: Tensor = self.leave(x)
        if self.training:
            # Every decoder layer's attention sends its gradient here (section 3.5; the published code halves
            # it). In evaluation mode the gradient is the true one, which attributions need.
            factor = 1 / (2 * len(self.decoder.layers))
            keys = ScaleGradient.apply(keys, factor)  # type: ignore[no-untyped-call]
        values = (keys + embedded) * HALF
        root = source_lengths.to(keys.dtype).sqrt()[:, None, None]  # (batch, 1, 1)
        return ConvolutionalMemory((keys, values, root), visible)

    def decode(self, target_in: Tensor, memory: ConvolutionalMemory) -> Tensor:
        """See `Seq2Seq.decode`."""
        hidden: Tensor = self.dropout(self.decoder(self.target_embedding(target_in), memory))
        return hidden

    def start(self, memory: ConvolutionalMemory, max_length: int) -> ConvolutionalState:  # noqa: ARG002
        """See `Seq2Seq.start`."""
        keys = memory.source[0]
        past = self.decoder.start(keys.size(0), like=keys)
        layout = RowLayout.even(keys.size(0), 1)
        return ConvolutionalState(folded(self.decoder), folded(self.output), memory, past, layout)

    def step(self, token: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        """See `Seq2Seq.step`."""
        embedded = self.target_embedding(token[:, None], start=state.length)[:, 0]
        hidden, state.past = state.decoder.step(embedded, state.memory, state.past, layout=state.layout)
        state.length = state.length + 1
        return state.output(self.dropout(hidden)), state

    def _embedding(self, size: int) -> Embedding:
        config = self.config
        positions = LearnedPositions(config.embedding, length=config.max_positions)
        embedding = Embedding(size, config.embedding, positions=positions, dropout=config.dropout, scale=1.0)
        for weight in (embedding.tokens.weight, positions.table):
            nn.init.normal_(weight, std=_EMBEDDING_STD)
        return embedding

    def _output(self) -> nn.Linear:
        """The output layer, without weight norm if its matrix also embeds tokens."""
        size, target = self.vocabulary.target_size, self.target_embedding.tokens
        tying = resolve_tying(self.config.tied_embeddings, shared=self.vocabulary.shared)
        if tying == "all":
            self.source_embedding.tokens.weight = target.weight
        if tying == "none":
            return normed_linear(self.config.embedding, size, dropout=self.config.dropout)
        output = Linear(self.config.embedding, size)
        nn.init.zeros_(output.bias)
        output.weight = target.weight
        return output
