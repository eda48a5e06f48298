"""What training, decoding and inspection ask of a model; they know no concrete one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from saccade.config import Section
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
        """Continue other hypotheses. A new row continues a row of the same sentence; sentences may change
        places, and those that do not occur leave the batch."""
        ...

    def join(self, fresh: Self) -> Self:
        """Let the sentences of a state that has not been stepped follow these, which may stand anywhere.

        Each goes on as it would by itself. Asked only of models that say `joins`.
        """
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


class Stepwise(Protocol):
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
        """Feed one token to each row, token (rows,); returns logits (rows, vocabulary) and the next state."""
        ...


class Forced(Protocol):
    """What scoring drives, for targets that are known: a model, or an engine that stands in for it."""

    vocabulary: Vocabulary

    @property
    def output(self) -> Projection:
        """From hidden states to logits."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """As `Stepwise.encode`. The memory's `select(sentences)`, (rows,), has a row for each of these, which
        may come several times."""
        ...

    def decode(self, target_in: Tensor, memory: Any) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        ...


Memory = tuple[Tensor, ...]
"""What a language model knows of the text before a segment: tensors whose first axis is the rows."""


@runtime_checkable
class LanguageModel(Protocol):
    """A model of running text, read in segments. Nothing is kept on modules: memory is a value.

    A row is a stream of text; what one row says has no influence on another.
    """

    vocabulary: Vocabulary
    output: nn.Linear
    """From hidden states to logits; the loss uses its weight without forming all logits."""

    def start(self, rows: int) -> Memory:
        """The memory of `rows` streams of which nothing has been read."""
        ...

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read the next tokens (rows, length) of each stream.

        Returns hidden states (rows, length, width), each of which knows its own token and those before it,
        and the memory to read on with, through which no gradient flows.
        """
        ...


class LanguageModelConfig(Section):
    """Base of every language model's configuration; that a kind has it makes it one."""

    segment: PositiveInt = 128
    """Tokens of a stream that are read at a time, and through which gradients flow."""


class LookingBackConfig(LanguageModelConfig):
    """Base of those whose memory is as long as one likes, also after training."""

    memory: NonNegativeInt = 128
    """Tokens before the segment that are remembered."""


@runtime_checkable
class Seq2Seq(Stepwise, Protocol):
    """An encoder-decoder that predicts target tokens left to right, and can be trained."""

    output: nn.Linear
    """From hidden states to logits; the loss uses its weight without forming all logits."""

    def decode(self, target_in: Tensor, memory: Any) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        ...


@runtime_checkable
class Parallel(Protocol):
    """A model that writes all target positions at once; no target ends in the end symbol.

    What `write` takes and how a length comes about differ by `scheme`: see `Fertile`, `Masked`, `Aligned`.
    """

    vocabulary: Vocabulary
    output: nn.Linear
    """From hidden states to logits."""

    @property
    def scheme(self) -> Literal["fertility", "mask-predict", "ctc"]:
        """How it is decoded."""
        ...

    @property
    def max_source_length(self) -> int | None:
        """As `Seq2Seq.max_source_length`."""
        ...

    @property
    def max_target_length(self) -> int | None:
        """As `Seq2Seq.max_target_length`."""
        ...

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """As `Forced.encode`."""
        ...


Translating = Seq2Seq | Parallel
"""What turns one text into another."""

Network = Translating | LanguageModel
"""What a model folder may hold."""


@runtime_checkable
class Fertile(Parallel, Protocol):
    """Reads each source piece as often as its fertility, a whole number."""

    def fertility_logits(self, memory: Any) -> Tensor:
        """(batch, source, classes); class n is fertility n."""
        ...

    def has_fertility(self, memory: Any) -> Tensor:
        """(batch, source): where there is one, that is not at end symbols and padding."""
        ...

    def write(self, fertilities: Tensor, memory: Any) -> tuple[Tensor, Tensor]:
        """fertilities (batch, source) to hidden states (batch, longest, width) and lengths (batch,)."""
        ...


@runtime_checkable
class Masked(Parallel, Protocol):
    """Predicts masked tokens from the others, and the length before them."""

    @property
    def mask(self) -> int:
        """Id of a token that is to be predicted."""
        ...

    def length_logits(self, memory: Any) -> Tensor:
        """(batch, classes)."""
        ...

    def length_of(self, classes: Tensor, memory: Any) -> Tensor:
        """Target lengths of classes (batch, any)."""
        ...

    def class_of(self, lengths: Tensor, memory: Any) -> Tensor:
        """The class of each target length (batch,)."""
        ...

    def write(self, tokens: Tensor, lengths: Tensor, memory: Any) -> Tensor:
        """tokens (batch, target), lengths (batch,) to hidden states (batch, target, width)."""
        ...


@runtime_checkable
class Aligned(Parallel, Protocol):
    """Writes a path: tokens, repetitions of them and blanks, which collapse to the target."""

    @property
    def blank(self) -> int:
        """Id of nothing."""
        ...

    def slots(self, memory: Any) -> Tensor:
        """The lengths of paths (batch,)."""
        ...

    def write(self, memory: Any, revealed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, longest, width) and lengths; revealed (batch, longest): ids that are read,
        -1 where none is."""
        ...


@runtime_checkable
class Attending(Protocol):
    """A module that attends: `weights` takes the arguments of its `forward`.

    Returns (batch, heads, query, key), rows summing to 1.
    """

    weights: Callable[..., Tensor]
