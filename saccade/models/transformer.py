"""The Transformer encoder-decoder ("Attention Is All You Need", sections 3 and 5)."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import torch
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.blocks import BlocksConfig
from saccade.models.families import Seq2Seq
from saccade.models.interface import Vocabulary
from saccade.models.placing import Positions, added_positions, attention_positions
from saccade.models.transformer_encoder import TransformerEncoder, final_norm
from saccade.models.tying import resolve_tying, tie
from saccade.nn.attention import AttentionPositions, KeyValue
from saccade.nn.cache import KeyValueCache
from saccade.nn.copy_attention import CopyAttention, CopyingOutput, CopyMemory
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.joining import join_masks, join_padded
from saccade.nn.layers import DecoderLayer, EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.positions import Layout
from saccade.nn.rows import RowLayout, Rows

_MAX_POSITIONS = 1024


class TransformerSettings(BlocksConfig):
    """The settings of every kind whose body is a `Transformer`; defaults are the paper's base model."""

    positions: Positions = "sinusoidal"
    """Position encoding. sinusoidal (section 3.5) and learned are added to embeddings; relative (Shaw et al.
    2018), rotary (Su et al. 2021) and alibi (Press et al. 2022) act inside every self-attention."""
    sinusoid_layout: Layout = "interleaved"
    """Layout of sinusoidal positions. interleaved: the paper's; halves: all sines first, as in Marian;
    fairseq: halves with its own frequencies, counted from 2 (M2M-100, NLLB)."""
    max_positions: PositiveInt = _MAX_POSITIONS
    """Maximum length of source and target in tokens with learned positions; other positions have no limit.
    (An exported model holds this number of sinusoidal positions, and at least 1024.)"""
    max_distance: PositiveInt | None = None
    """Greatest distance that relative positions distinguish. Unset: 16, as in their paper (section 4.1)."""
    window: PositiveInt | tuple[NonNegativeInt, ...] | None = None
    """Number of positions that self-attention sees on either side (encoder) or backwards (decoder). A list
    has one number for each layer, encoder layers first; 0 means all positions. Unset: all in every layer."""
    scaled_embeddings: bool = True
    """Whether embeddings are multiplied by sqrt(width) (section 3.4); some imported models do not do so."""
    output_bias: bool = False
    """Whether logits have a learned bias, as in Marian."""
    copying: bool = False
    """Whether a token may also be copied from the source, where an attention head points (pointer-generator,
    See et al. 2017). Source and target need one vocabulary."""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if isinstance(self.window, tuple) and len(self.window) != self.encoder_layers + self.decoder_layers:
            raise ValueError(
                f"window lists {len(self.window)} numbers for {self.encoder_layers} encoder layers and "
                f"{self.decoder_layers} decoder layers; give one for each, or one number for all"
            )
        return self

    @model_validator(mode="after")
    def _positions_fit(self) -> Self:
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(
                f"heads are {self.head_width} wide (width / heads): rotary positions turn pairs of channels "
                "and need an even number"
            )
        if self.positions != "relative" and self.max_distance is not None:
            raise ValueError(
                f"max_distance is a setting of relative positions, and these are {self.positions}; "
                "leave it out"
            )
        if self.positions not in ("learned", "sinusoidal") and self.max_positions != _MAX_POSITIONS:
            raise ValueError(
                f"max_positions is a setting of learned positions, and these are {self.positions}, which "
                "have no limit; leave it out"
            )
        if self.positions != "sinusoidal" and self.sinusoid_layout != "interleaved":
            raise ValueError(
                f"sinusoid_layout is a setting of sinusoidal positions, and these are {self.positions}; "
                "leave it out"
            )
        return self

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The window of each self-attention, encoder layers first; None means all positions."""
        layers = self.encoder_layers + self.decoder_layers
        each = self.window if isinstance(self.window, tuple) else (self.window,) * layers
        return tuple(window or None for window in each)


class TransformerConfig(TransformerSettings):
    """Settings of the Transformer; default sizes are the paper's base model (table 3)."""

    kind: Literal["transformer"] = "transformer"
    """Kind of model."""


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {"width": 128, "heads": 4, "feed_forward": 256, "encoder_layers": 4, "decoder_layers": 4},
    "small": {"width": 256, "heads": 4, "feed_forward": 1024, "encoder_layers": 3, "decoder_layers": 3},
    "base": {},
    "big": {"width": 1024, "heads": 16, "feed_forward": 4096, "dropout": 0.3},
}


@dataclass(frozen=True)
class Memory:
    """The encoder's output: states (batch, source, width), their padding mask, and what can be copied."""

    states: Tensor
    visible: Tensor | None
    copied: CopyMemory | None = None

    def select(self, sentences: Tensor) -> "Memory":
        """See `SelectableMemory.select`."""
        visible = None if self.visible is None else self.visible[sentences]
        copied = None if self.copied is None else self.copied.select(sentences)
        return Memory(self.states[sentences], visible, copied)


@dataclass
class TransformerState:
    """The decoding state.

    Per sentence: cross-attention keys and values, and what can be copied. Per hypothesis: each layer's
    self-attention cache.
    """

    memory: list[KeyValue]
    visible: Tensor | None
    past: list[KeyValueCache]
    layout: RowLayout
    copied: CopyMemory | None = None

    def select(self, rows: Rows) -> "TransformerState":
        """See `State.select`."""
        memory, visible, copied, kept = self.memory, self.visible, self.copied, rows.sentences
        if kept is not None:
            memory = [(key.index_select(0, kept), value.index_select(0, kept)) for key, value in memory]
            visible = None if visible is None else visible.index_select(0, kept)
            copied = None if copied is None else copied.select(kept)
        past = [cache.select(rows.index) for cache in self.past]
        return TransformerState(memory, visible, past, rows.layout, copied)

    def join(self, fresh: "TransformerState") -> "TransformerState":
        """See `State.join`."""
        memory = [
            (join_padded(own[0], new[0], axis=2), join_padded(own[1], new[1], axis=2))
            for own, new in zip(self.memory, fresh.memory, strict=True)
        ]
        sizes = (_memory_size(self.memory), _memory_size(fresh.memory))
        visible = join_masks(self.visible, fresh.visible, sizes=sizes)
        past = [own.joined(new) for own, new in zip(self.past, fresh.past, strict=True)]
        copied = self.copied
        if copied is not None and fresh.copied is not None:
            copied = copied.join(fresh.copied)
        return TransformerState(memory, visible, past, self.layout.joined(fresh.layout), copied)


def _memory_size(memory: list[KeyValue]) -> tuple[int, int]:
    """The number of sentences and the length of their memory."""
    key, _ = memory[0]
    return key.size(0), key.size(2)


class Transformer(Seq2Seq[Memory, TransformerState]):
    """The encoder-decoder Transformer.

    source: what embeds the source in the place of token embeddings, such as a projection of frames.
    """

    config: TransformerSettings

    joins = True

    def __init__(
        self, config: TransformerSettings, vocabulary: Vocabulary, *, source: nn.Module | None = None
    ) -> None:
        super().__init__(config, vocabulary)
        source = self._embedding(vocabulary.source_size) if source is None else source
        target = self._embedding(vocabulary.target_size)
        width, blocks, windows = config.width, config.blocks, config.windows
        layers = (
            EncoderLayer(blocks, window=window, positions=self._attention_positions(causal=False))
            for window in windows[: config.encoder_layers]
        )
        self.encoder: TransformerEncoder[Any] = TransformerEncoder(
            source, layers, width=width, norm=config.norm
        )
        self.target_embedding = target
        self.decoder = nn.ModuleList(
            DecoderLayer(blocks, window=window, positions=self._attention_positions(causal=True))
            for window in windows[config.encoder_layers :]
        )
        self.decoder_norm = final_norm(width, config.norm)
        if config.copying and not vocabulary.shared:
            raise ValueError(
                "copying = true: the ids of the source have to mean the same pieces in the target; set "
                "tokenizer.joint = true, or leave copying out"
            )
        self.copying = CopyAttention(width) if config.copying else None
        output = CopyingOutput if config.copying else Linear
        self.output: nn.Linear = output(width, vocabulary.target_size, bias=config.output_bias)
        self._tie()
        self._initialise()

    @property
    def max_source_length(self) -> int | None:
        """The number of learned positions; other positions have no limit."""
        return self.config.max_positions if self.config.positions == "learned" else None

    @property
    def max_target_length(self) -> int | None:
        """See `max_source_length`."""
        return self.max_source_length

    def forward(self, target_in: Tensor, memory: Memory) -> Tensor:
        """Teacher-forced logits (batch, target, vocabulary)."""
        logits: Tensor = self.output(self.decode(target_in, memory))
        return logits

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        states = self.encoder(source, source_lengths)
        copied = None if self.copying is None else self.copying.project_memory(states, source)
        return Memory(states, padding_mask(source_lengths, source.size(1)), copied)

    def decode(self, target_in: Tensor, memory: Memory) -> Tensor:
        """See `Seq2Seq.decode`. The causal mask already hides padding on the right from real tokens."""
        x = self.target_embedding(target_in)  # (batch, target, width)
        for layer in self.decoder_layers:
            x = layer(x, layer.cross_attention.project_memory(memory.states), visible=memory.visible)
        hidden: Tensor = self.decoder_norm(x)
        if self.copying is not None and memory.copied is not None:
            hidden = self.copying(hidden, memory.copied, visible=memory.visible)
        return hidden

    def start(self, memory: Memory, max_length: int) -> TransformerState:
        """See `Seq2Seq.start`."""
        states, heads = memory.states, self.config.heads
        sentences, head_width = states.size(0), self.config.width // heads
        cross = [layer.cross_attention.project_memory(states) for layer in self.decoder_layers]
        past = [
            KeyValueCache.empty(sentences, heads, max_length, head_width, like=states) for _ in self.decoder
        ]
        layout = RowLayout.even(sentences, 1)
        return TransformerState(cross, memory.visible, past, layout, memory.copied)

    def step(self, token: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """See `Seq2Seq.step`."""
        x = self.target_embedding(token[:, None], start=state.past[0].position)[:, 0]  # (rows, width)
        for layer, memory, cache in zip(self.decoder_layers, state.memory, state.past, strict=True):
            x = layer.step(x, memory, visible=state.visible, cache=cache, layout=state.layout)
        hidden = self.decoder_norm(x)
        if self.copying is not None and state.copied is not None:
            queries = state.layout.grid(hidden)  # (sentences, hypotheses, width)
            hidden = state.layout.flat(self.copying(queries, state.copied, visible=state.visible))
        return self.output(hidden), state

    @property
    def decoder_layers(self) -> list[DecoderLayer]:
        """The decoder's layers."""
        return cast(list[DecoderLayer], list(self.decoder))

    def _embedding(self, size: int) -> Embedding:
        config = self.config
        positions = added_positions(
            config.positions, config.width, length=config.max_positions, layout=config.sinusoid_layout
        )
        scale = math.sqrt(config.width) if config.scaled_embeddings else 1.0
        return Embedding(size, config.width, positions=positions, dropout=config.dropout, scale=scale)

    def _attention_positions(self, *, causal: bool) -> AttentionPositions:
        """The positions that act inside the self-attention of one layer."""
        config = self.config
        return attention_positions(
            config.positions,
            heads=config.heads,
            head_width=config.head_width,
            causal=causal,
            max_distance=config.max_distance,
        )

    def _tie(self) -> None:
        tying = resolve_tying(self.config.tied_embeddings, shared=self.vocabulary.shared)
        tie(tying, output=self.output, source=self.encoder.embedding, target=self.target_embedding)

    def _initialise(self) -> None:
        xavier(self, but=self.output)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)
        if self.output.weight is not self.target_embedding.tokens.weight:
            nn.init.normal_(self.output.weight, std=self.config.width**-0.5)


def count_parameters(config: TransformerSettings, vocabulary: Vocabulary) -> int:
    """Number of parameters of the model, tied ones counted once, without allocating memory for them."""
    with torch.device("meta"):
        model = Transformer(config, vocabulary)
    return sum(parameter.numel() for parameter in model.parameters())
