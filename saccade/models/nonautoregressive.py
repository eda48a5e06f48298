"""What all non-autoregressive models share: an encoder, and a decoder that writes every position at once.

Gu et al. 2018, "Non-Autoregressive Neural Machine Translation"; sections are of that paper. How the length
is known and what the decoder reads is in `fertility.py`, `mask_predict.py` and `ctc.py`.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from saccade.models.blocks import BlocksConfig
from saccade.models.interface import Vocabulary
from saccade.nn.embedding import Embedding
from saccade.nn.initial import xavier
from saccade.nn.layers import EncoderLayer
from saccade.nn.linear import Linear
from saccade.nn.parallel import EncoderStack, ParallelDecoderLayer, ParallelDecoderStack
from saccade.nn.positions import SinusoidalPositions

Decoder = Literal["fertility", "mask-predict", "ctc"]


class NonAutoregressiveConfig(BlocksConfig):
    """Sizes default to the paper's for WMT, which are the Transformer's base model."""

    kind: Literal["nonautoregressive"] = "nonautoregressive"
    """Which system this is."""
    decoder: Decoder = "fertility"
    """What the decoder reads and how it knows the length. fertility: each source piece as often as it is
    translated (Gu et al. 2018); mask-predict: masked tokens, filled in over several rounds (CMLM,
    Ghazvininejad et al. 2019); ctc: more slots than tokens, blanks and repetitions left out afterwards
    (Libovický and Helcl 2018), trained by glancing (Qian et al. 2021)."""
    positional_attention: bool | None = None
    """A further sub-layer in which positions look for positions (section 3.2). Unset: with fertility only."""
    copies: Literal["fertility", "uniform"] | None = None
    """fertility only. How the source is copied into the decoder: each piece as often as its fertility, or
    evenly over as many inputs as the fertilities add up to (an ablation). Unset: fertility."""
    max_fertility: PositiveInt | None = None
    """fertility only. Most target pieces that a source piece is predicted to have. Unset: 50, the paper's."""
    slots: PositiveInt | None = None
    """ctc only. Decoder positions for each source piece. Unset: 2."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: sinusoidal positions need an even one")
        owners = {"copies": "fertility", "max_fertility": "fertility", "slots": "ctc"}
        for name, owner in owners.items():
            if getattr(self, name) is not None and self.decoder != owner:
                raise ValueError(
                    f"{name} is a setting of decoder = {owner}, and this is {self.decoder}; leave it out"
                )
        return self

    @property
    def has_positional_attention(self) -> bool:
        """Whether the decoder has it."""
        if self.positional_attention is None:
            return self.decoder == "fertility"
        return self.positional_attention


@dataclass(frozen=True)
class ParallelMemory:
    """What the encoder read. states (batch, source, width); what the decoder layers remember of them; the ids
    (batch, source), of which the decoder gets copies; lengths, end symbol counted. summary (batch, width):
    the state of a token for the sentence, where there is one."""

    states: Tensor
    remembered: Any
    source: Tensor
    source_lengths: Tensor
    summary: Tensor | None = None

    def select(self, sentences: Tensor) -> "ParallelMemory":
        """See `Forced.encode`."""
        return ParallelMemory(
            states=self.states[sentences],
            remembered=self.remembered.select(sentences),
            source=self.source[sentences],
            source_lengths=self.source_lengths[sentences],
            summary=None if self.summary is None else self.summary[sentences],
        )


class NonAutoregressive(nn.Module):
    """Encoder, decoder layers and output layer; the base of the three models."""

    sees_itself = True
    """Whether a position's self-attention sees that position."""

    def __init__(
        self, config: NonAutoregressiveConfig, vocabulary: Vocabulary, *, reads_targets: bool
    ) -> None:
        """reads_targets: the decoder reads target tokens, and so has embeddings of them."""
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        width = config.width
        sizes = config.block_sizes
        self.source_embedding = self._embedding(vocabulary.source_size)
        self.target_embedding = self._embedding(vocabulary.target_size) if reads_targets else None
        self.encoder = EncoderStack(EncoderLayer(width, **sizes) for _ in range(config.encoder_layers))
        positional = config.has_positional_attention
        self.decoder = ParallelDecoderStack(
            ParallelDecoderLayer(width, **sizes, positional=positional) for _ in range(config.decoder_layers)
        )
        final = nn.LayerNorm if config.norm == "pre" else nn.Identity
        self.encoder_norm, self.decoder_norm = final(width), final(width)
        self.output: nn.Linear = Linear(width, vocabulary.target_size, bias=False)
        xavier(self, but=self.output)
        nn.init.normal_(self.output.weight, std=width**-0.5)
        self._tie()

    @property
    def scheme(self) -> Decoder:
        """See `Parallel.scheme`."""
        return self.config.decoder

    @property
    def max_source_length(self) -> int | None:
        """Sinusoids end nowhere."""
        return None

    @property
    def max_target_length(self) -> int | None:
        """As `max_source_length`."""
        return None

    def encode(self, source: Tensor, source_lengths: Tensor) -> ParallelMemory:
        """See `Parallel.encode`."""
        states = self.encoder_norm(self.encoder(self.source_embedding(source), source_lengths))
        remembered = self.decoder.remember(states, source_lengths)
        return ParallelMemory(states, remembered, source, source_lengths)

    def decode(self, x: Tensor, lengths: Tensor, memory: ParallelMemory) -> Tensor:
        """Hidden states of x (batch, target, width), which has positions in it; lengths (batch,)."""
        positions = self.source_embedding.positions
        x = self.decoder(x, lengths, memory.remembered, positions, sees_itself=self.sees_itself)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def read_copies(self, index: Tensor, lengths: Tensor, memory: ParallelMemory) -> Tensor:
        """Hidden states (batch, target, width) of a decoder that reads copies of the source positions `index`
        (batch, target); lengths (batch,)."""
        return self.decode(self.source_embedding(memory.source.gather(1, index)), lengths, memory)

    def _embedding(self, size: int) -> Embedding:
        width, dropout = self.config.width, self.config.dropout
        positions = SinusoidalPositions(width)
        return Embedding(size, width, positions=positions, dropout=dropout, scale=math.sqrt(width))

    def _tie(self) -> None:
        tied = self.config.tied_embeddings or ("all" if self.vocabulary.shared else "target")
        if tied == "all" and not self.vocabulary.shared:
            raise ValueError("tied_embeddings = all needs one vocabulary for source and target")
        if tied == "all":
            self.output.weight = self.source_embedding.tokens.weight
        if self.target_embedding is not None and tied != "none":
            if tied == "all":
                self.target_embedding.tokens.weight = self.source_embedding.tokens.weight
            self.output.weight = self.target_embedding.tokens.weight
