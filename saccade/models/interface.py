"""The interfaces of models, and of engines that replace them, for decoding and inspection."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from saccade.nn.rows import Rows


@dataclass(frozen=True)
class Vocabulary:
    """Sizes and special ids of a model's vocabulary. shared: source and target ids mean the same pieces."""

    source_size: int
    target_size: int
    pad: int
    start: int
    end: int
    shared: bool


class PaddedValues(Protocol):
    """One column of several lines, padded on the right, as a batch has it."""

    @property
    def values(self) -> Tensor:
        """(rows, longest[, width]): ids, or numbers."""
        ...

    @property
    def lengths(self) -> Tensor:
        """(rows,) number of positions of each line."""
        ...


Inputs = Mapping[str, PaddedValues]
"""What a model reads: columns by name. A column of frames or patches has a width; one of ids has none."""


class State(Protocol):
    """The state of a decoding run: a value that is used once.

    It separates two kinds of tensors. Per sentence: encoder memory, cross-attention keys and values, which
    are never copied for each hypothesis. Per hypothesis: self-attention cache or recurrent state. A
    hypothesis is a row; the rows of a sentence are adjacent, and their number may differ between sentences.
    """

    def select(self, rows: Rows) -> Self:
        """Selects the hypotheses to continue.

        A new row continues a row of the same sentence; sentences may change places, and those that do not
        occur leave the batch.
        """
        ...

    def join(self, fresh: Self) -> Self:
        """Appends the sentences of a state that has not been stepped yet; this one may have been.

        Each sentence continues as it would by itself. Only models with `joins` have this method.
        """
        ...


class SelectableMemory(Protocol):
    """The output of an encoder, whose rows can be repeated for the candidates of a sentence."""

    def select(self, sentences: Tensor) -> Self:
        """A memory with a row for each of `sentences` (rows,), which may occur several times."""
        ...


class Projection(Protocol):
    """The output layer, from hidden states to logits: a linear layer or a substitute for it."""

    @property
    def out_features(self) -> int:
        """Number of logits of a row."""
        ...

    def __call__(self, x: Tensor, /) -> Tensor:
        """Logits (..., out_features) of x (..., width)."""
        ...


class IncrementalDecoder(Protocol):
    """The interface that search uses: a model or an engine. The first axis of every tensor is the batch."""

    vocabulary: Vocabulary

    @property
    def joins(self) -> bool:
        """Whether sentences can join a batch that is being decoded; see `State.join`."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether threads can decode a batch each, and are faster so than all of them on one batch."""
        ...

    @property
    def max_source_length(self) -> int | None:
        """The longest source that the model can read, end symbol included; None means no limit."""
        ...

    @property
    def max_target_length(self) -> int | None:
        """The longest target that the model can write; None means no limit."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """Encodes ids (batch, source), padded on the right, with lengths (batch,); returns the memory."""
        ...

    def start(self, memory: Any, max_length: int) -> State:
        """The state before the first token: one hypothesis per sentence and room for `max_length` tokens."""
        ...

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Feeds token (rows,), one to each row; returns logits (rows, vocabulary) and the next state."""
        ...


class FixedDecoder(ABC):
    """The base of engines whose step has fixed sizes and addresses, so that a GPU can record and replay it.

    They also have the methods of `IncrementalDecoder`.
    """

    vocabulary: Vocabulary
    joins: bool
    concurrent: bool = False
    max_source_length: int | None
    max_target_length: int | None

    @abstractmethod
    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """See `IncrementalDecoder.encode`."""

    @abstractmethod
    def start(self, memory: Any, max_length: int) -> Any:
        """See `IncrementalDecoder.start`."""

    @abstractmethod
    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `IncrementalDecoder.step`."""

    @abstractmethod
    def empty(self, sentences: int, hypotheses: int, columns: int, source: int) -> Any:
        """A state with room for these numbers of sentences, hypotheses of each, target and source tokens.

        It has `tensors()`, a list of those whose first axis is the sentences, and an `Ancestry`.
        """

    @abstractmethod
    def fill(self, state: Any, source: Tensor, source_lengths: Tensor) -> None:
        """Begins with new sentences: source (sentences, source), source_lengths (sentences,), from 1."""

    @abstractmethod
    def fixed_step(self, token: Tensor, state: Any) -> Tensor:
        """Feeds token (rows,), one to each hypothesis; returns logits (rows, vocabulary).

        It changes the state in place. The caller then says, with `Ancestry.follow`, which hypotheses go on.
        """


class TeacherForced(Protocol):
    """The interface that scoring uses for known targets: a model or an engine."""

    vocabulary: Vocabulary

    @property
    def output(self) -> Projection:
        """The output layer, from hidden states to logits."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """See `IncrementalDecoder.encode`; the memory is a `SelectableMemory`."""
        ...

    def decode(self, target_in: Tensor, memory: Any) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        ...
