"""What decoding and inspection ask of a model or of an engine that replaces it; they know no concrete one."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from saccade.nn.rows import Rows


@dataclass(frozen=True)
class Vocabulary:
    """Sizes and special ids that a model is built for. `shared`: source and target ids mean the same."""

    source_size: int
    target_size: int
    pad: int
    start: int
    end: int
    shared: bool


class State(Protocol):
    """Where a decoding run stands: a value that is used once.

    It keeps two kinds of tensors apart. Per sentence: encoder memory, cross keys and values;
    never copied per hypothesis. Per hypothesis: self-attention cache or recurrent state. A hypothesis
    is a row; the rows of a sentence stand together, and there may be more of one than of another.
    """

    def select(self, rows: Rows) -> Self:
        """Continues other hypotheses. A new row continues a row of the same sentence; sentences may change
        places, and those that do not occur leave the batch."""
        ...

    def join(self, fresh: Self) -> Self:
        """Lets the sentences of a state that has not been stepped follow these, which may stand anywhere.

        Each goes on as it would by itself. Asked only of models that say `joins`.
        """
        ...


class SelectableMemory(Protocol):
    """What an encoder read; rows can be repeated for the hypotheses or candidates of a sentence."""

    def select(self, sentences: Tensor) -> Self:
        """A memory with a row for each of `sentences` (rows,), which may occur several times."""
        ...


class Projection(Protocol):
    """From hidden states to logits: a linear layer, or one that stands in for it."""

    @property
    def out_features(self) -> int:
        """Logits of a row."""
        ...

    def __call__(self, x: Tensor, /) -> Tensor:
        """x (..., width) to (..., out_features)."""
        ...


class IncrementalDecoder(Protocol):
    """What search drives: a model, or an engine that stands in for it. Batch first, always."""

    vocabulary: Vocabulary

    @property
    def joins(self) -> bool:
        """Whether sentences can join others that are being decoded; see `State.join`."""
        ...

    @property
    def max_source_length(self) -> int | None:
        """Longest source, end symbol in, that the model can read; None: no limit."""
        ...

    @property
    def max_target_length(self) -> int | None:
        """Longest target that the model can write; None: no limit."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """source (batch, source) ids with padding on the right, source_lengths (batch,); returns memory."""
        ...

    def start(self, memory: Any, max_length: int) -> State:
        """A state before the first token, one hypothesis a sentence, with room for `max_length` tokens."""
        ...

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Feeds token (rows,), one to each row; returns logits (rows, vocabulary) and the next state."""
        ...


class TeacherForced(Protocol):
    """What scoring drives, for targets that are known: a model, or an engine that stands in for it."""

    vocabulary: Vocabulary

    @property
    def output(self) -> Projection:
        """From hidden states to logits."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """As `IncrementalDecoder.encode`. The memory is a `SelectableMemory`."""
        ...

    def decode(self, target_in: Tensor, memory: Any) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        ...
