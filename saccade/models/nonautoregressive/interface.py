"""The parts of non-autoregressive models: a body, the memory that it reads, and a scheme over it."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from saccade.models.interface import Projection, SelectableMemory, Vocabulary
from saccade.models.nonautoregressive.config import NonAutoregressiveConfig

CrossT = TypeVar("CrossT", bound=SelectableMemory)


@dataclass(frozen=True)
class SourceMemory(Generic[CrossT]):
    """The output of a body's encoder.

    source (batch, source) ids and source_lengths (batch,), end symbol included; cross: the keys and values of
    each decoder layer's cross-attention, in the body's own form; features: the input of the body's `predict`,
    (batch, source, ...) or (batch, ...), None if the scheme predicts nothing before it writes.
    """

    source: Tensor
    source_lengths: Tensor
    cross: CrossT
    features: Tensor | None = None

    def select(self, sentences: Tensor) -> "SourceMemory[CrossT]":
        """A memory with a row for each of `sentences` (rows,), which may occur several times."""
        return SourceMemory(
            source=self.source[sentences],
            source_lengths=self.source_lengths[sentences],
            cross=self.cross.select(sentences),
            features=None if self.features is None else self.features[sentences],
        )


AnyMemory = SourceMemory[Any]
"""The memory of any body: a scheme does not look at `cross`."""


class Body(Protocol):
    """The interface of bodies: the trained network, the C engine, or an exported graph."""

    config: NonAutoregressiveConfig
    vocabulary: Vocabulary

    @property
    def output(self) -> Projection:
        """The output layer, from hidden states to logits."""
        ...

    def argmax(self, hidden: Tensor, *, never: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The most likely token of hidden states (positions, width) and its log-probability, (positions,).

        never: ids that are excluded; the others keep their log-probabilities.
        """
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> AnyMemory:
        """Encodes source ids (batch, source), padded on the right, with lengths (batch,)."""
        ...

    def predict(self, memory: AnyMemory) -> Tensor:
        """Logits of what the scheme predicts before it writes, (batch, source, classes) or (batch, classes).

        See `Scheme.predicts`.
        """
        ...

    def decode(
        self, read: Tensor, lengths: Tensor, memory: AnyMemory, *, revealed: Tensor | None = None
    ) -> Tensor:
        """Hidden states (batch, target, width) of a decoder that reads ids `read` (batch, target).

        They are source or target ids, see `Scheme.reads`; lengths (batch,). revealed (batch, target): target
        ids that are read in their place, -1 for none; only the trained network supports it.
        """
        ...


class LinkingBody(Body, Protocol):
    """The interface of the bodies of a scheme with `links`."""

    def link(self, hidden: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """Probabilities (batch, from, to) of links between positions; see `Links.forward`."""
        ...

    def vertex_positions(self, hidden: Tensor) -> Tensor:
        """Encodings (vertices, width) of the positions of hidden states (batch, vertices, width)."""
        ...


class Scheme(ABC):
    """The base of schemes, which drive a body; the class declares what the body must have."""

    name: ClassVar[str]
    reads: ClassVar[Literal["source", "target"]]
    """The ids that the decoder reads."""
    embeds_target: ClassVar[bool]
    """Whether the body has embeddings of target tokens."""
    sees_itself: ClassVar[bool] = True
    """Whether a position's self-attention sees that position."""
    positional_attention: ClassVar[bool] = False
    """Whether the decoder has positional attention if `model.positional_attention` is unset."""
    predicts: ClassVar[Literal["piece", "sentence"] | None] = None
    """Subject of the body's `predict`: each source piece, the sentence (through an extra token in front of
    the source), or None."""
    links: ClassVar[bool] = False
    """Whether the body has the probabilities of links between its positions; see `LinkingBody.link`."""
    needs_fertilities: ClassVar[bool] = False
    """Whether training needs the number of target pieces of each source piece."""
    undefined_score: ClassVar[str | None] = None
    """The reason why the probability of a target cannot be computed; None if it can."""

    def __init__(self, body: Body) -> None:
        self.body = body

    @classmethod
    def classes(cls, config: NonAutoregressiveConfig) -> int:
        """Number of classes of the body's `predict`; 0 if it predicts nothing."""
        return 0

    @property
    def special(self) -> list[int]:
        """Ids that no target holds: padding, start and end."""
        vocabulary = self.body.vocabulary
        return sorted({vocabulary.pad, vocabulary.start, vocabulary.end})


def pieces(memory: AnyMemory) -> Tensor:
    """The number of source pieces of each sentence (batch,), without the end symbol."""
    return memory.source_lengths - 1


def real_pieces(memory: AnyMemory) -> Tensor:
    """Mask (batch, source) of the positions that hold pieces, not the end symbol or padding."""
    places = torch.arange(memory.source.size(1), device=memory.source.device)
    return places < pieces(memory)[:, None]
