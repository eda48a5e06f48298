"""The families of models: nominal base classes that say what a model is for and which methods it has.

A kind of model (`transformer`, `recurrent`, ...) belongs to one family. Everything above `models/` depends on
the family alone and looks it up in one table for each purpose: the task that trains it (`tasks/`), and the
class that uses it (`saccade.load`).
"""

from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from saccade.errors import Unsupported
from saccade.models.interface import SelectableMemory, State, Vocabulary

MemoryT = TypeVar("MemoryT", bound=SelectableMemory)
StateT = TypeVar("StateT", bound=State)
FamilyT = TypeVar("FamilyT", bound="Network")

Memory = tuple[Tensor, ...]
"""What a language model remembers of the text before a segment: tensors whose first axis is the streams."""


class Network(nn.Module):
    """The base of every model: built from its kind's configuration and a vocabulary."""

    purpose: ClassVar[str]
    """What a model of the family is and does, as a noun phrase that an error message can quote."""
    topic: ClassVar[str | None] = None
    """The topic of the advice for somebody who wanted something else of it, see `UserError`."""

    config: Any
    """The section `[model]` that it was built from, its kind's own class."""
    vocabulary: Vocabulary
    output: nn.Linear
    """From hidden states to logits; the loss uses its weight without forming all logits."""

    def __init__(self, config: Any, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary


class TranslationModel(Network):
    """The base of the families that turn one sequence into another. Batch first, always."""

    purpose = "a translation model"
    topic = "translator"

    @property
    def max_source_length(self) -> int | None:
        """The longest source that the model can read, end symbol included; None means no limit."""
        return None

    @property
    def max_target_length(self) -> int | None:
        """The longest target that the model can write; None means no limit."""
        return None

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """Reads source ids (batch, source), padded on the right, of lengths (batch,); returns the memory."""
        raise NotImplementedError


class Seq2Seq(TranslationModel, Generic[MemoryT, StateT]):
    """An encoder-decoder that predicts target tokens from left to right.

    It has the methods of `IncrementalDecoder`, which search drives, and of `TeacherForced`, which training
    and scoring drive.
    """

    purpose = "a translation model that writes token by token"
    joins: ClassVar[bool] = False
    """Whether states can be joined, see `State.join`, so that sentences can join a batch that is decoded."""

    def encode(self, source: Tensor, source_lengths: Tensor) -> MemoryT:
        """See `TranslationModel.encode`."""
        raise NotImplementedError

    def decode(self, target_in: Tensor, memory: MemoryT) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        raise NotImplementedError

    def start(self, memory: MemoryT, max_length: int) -> StateT:
        """The state before the first token, one hypothesis a sentence, with room for `max_length` tokens."""
        raise NotImplementedError

    def step(self, token: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """Feeds token (rows,), one to each row; returns logits (rows, vocabulary) and the next state."""
        raise NotImplementedError


class NonAutoregressive(TranslationModel):
    """A model that writes all target positions at once; no target ends in the end symbol.

    It is the body (`models.nonautoregressive.interface.Body`) that a scheme drives: the scheme decides how
    the length comes about and what the decoder reads.
    """

    purpose = "a non-autoregressive translation model"


class LanguageModel(Network):
    """A model of running text, read in segments.

    Nothing is kept on modules: memory is a value. A row is a stream of text, and no row influences another.
    """

    purpose = "a language model, which scores and continues text"
    topic = "language-model"

    def start(self, rows: int) -> Memory:
        """The memory of `rows` streams of which nothing has been read."""
        raise NotImplementedError

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Reads the next tokens (rows, length) of each stream.

        Returns hidden states (rows, length, width), each of which knows its own token and those before it,
        and the memory to continue from, through which no gradient flows.
        """
        raise NotImplementedError


def expect(network: nn.Module, family: type[FamilyT], *, what: str = "the model") -> FamilyT:
    """Returns the network as a member of the family.

    Raises UserError, which says what the network is and what is needed, for a member of another family.
    what: the subject of the message.
    """
    if isinstance(network, family):
        return network
    found, topic = (network.purpose, network.topic) if isinstance(network, Network) else ("unknown", None)
    raise Unsupported(f"{what} is {found}; {family.purpose} is needed here.", topic=topic)
