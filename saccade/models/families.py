"""The families of models: base classes that state what a model is for and which methods it has.

A kind of model (`transformer`, `recurrent`, ...) belongs to one family. Everything above `models/` depends on
the family alone and looks it up in one table for each purpose: the task that trains it (`tasks/`), and the
class that uses it (`saccade.load`).
"""

from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from saccade.config import Section
from saccade.errors import Unsupported
from saccade.models.interface import Inputs, PaddedValues, SelectableMemory, State, Vocabulary
from saccade.nn.crf import Crf

MemoryT = TypeVar("MemoryT", bound=SelectableMemory)
StateT = TypeVar("StateT", bound=State)
FamilyT = TypeVar("FamilyT", bound="Network")

Memory = tuple[Tensor, ...]
"""A language model's memory of the text before a segment: tensors whose first axis is the streams."""


class Network(nn.Module):
    """The base of every model: built from its kind's configuration and a vocabulary."""

    purpose: ClassVar[str]
    """Description of a model of the family: a noun phrase that error messages quote."""
    topic: ClassVar[str]
    """Topic of the advice for a user who tried to use it otherwise, see `UserError`."""

    config: Any
    """The section `[model]` that it was built from, an instance of its kind's class."""
    vocabulary: Vocabulary
    output: nn.Linear
    """The output layer; the loss uses its weight without computing all logits at once."""

    def __init__(self, config: Any, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary

    @property
    def max_source_length(self) -> int | None:
        """The longest source that the model can read: its number of ids, end symbol included, of frames or
        of inputs. None means no limit."""
        return None


class TranslationModel(Network):
    """The base of the families that translate. The first axis of every tensor is the batch."""

    purpose = "a translation model"
    topic = "translator"

    @property
    def max_target_length(self) -> int | None:
        """The longest target that the model can write; None means no limit."""
        return None

    def encode(self, source: Tensor, source_lengths: Tensor) -> Any:
        """Encodes ids (batch, source), padded on the right, with lengths (batch,); returns the memory."""
        raise NotImplementedError


class Seq2Seq(TranslationModel, Generic[MemoryT, StateT]):
    """An encoder-decoder that predicts target tokens from left to right.

    It has the methods of `IncrementalDecoder`, which search uses, and of `TeacherForced`, which training and
    scoring use.
    """

    purpose = "a translation model that writes token by token"
    joins: ClassVar[bool] = False
    """Whether sentences can join a batch that is being decoded; see `State.join`."""
    concurrent: ClassVar[bool] = False
    """See `IncrementalDecoder.concurrent`."""

    def encode(self, source: Tensor, source_lengths: Tensor) -> MemoryT:
        """See `TranslationModel.encode`."""
        raise NotImplementedError

    def decode(self, target_in: Tensor, memory: MemoryT) -> Tensor:
        """Teacher-forced hidden states (batch, target, width) for target_in (batch, target)."""
        raise NotImplementedError

    def start(self, memory: MemoryT, max_length: int) -> StateT:
        """The state before the first token: one hypothesis per sentence and room for `max_length` tokens."""
        raise NotImplementedError

    def step(self, token: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """Feeds token (rows,), one to each row; returns logits (rows, vocabulary) and the next state."""
        raise NotImplementedError


class NonAutoregressive(TranslationModel):
    """A model that writes all target positions at once; its targets have no end symbol.

    It is the body (`models.nonautoregressive.interface.Body`) of a scheme, which determines the target length
    and the input of the decoder.
    """

    purpose = "a non-autoregressive translation model"


class LanguageModel(Network):
    """A model of running text, read in segments.

    The memory is a value; modules keep no state. A row is a stream of text, and rows do not influence each
    other.
    """

    purpose = "a language model, which scores and continues text"
    topic = "language-model"

    def start(self, rows: int) -> Memory:
        """The memory of `rows` streams before their first token."""
        raise NotImplementedError

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Reads the next tokens (rows, length) of each stream.

        Returns hidden states (rows, length, width), each of which depends on its own token and those before
        it, and the memory to continue from, through which no gradient flows.
        """
        raise NotImplementedError


class TaggerSettings(Section):
    """The base of the sections `[model]` of taggers."""

    crf: bool = False
    """Whether the labels of a sentence are chosen together, by a conditional random field; otherwise each
    word's label has a softmax of its own."""

    @property
    def spelled(self) -> int | None:
        """Number of bytes of each word that the model reads, in the column `spelling`; None: it does not."""
        return None


class Tagger(Network):
    """A model that gives each word of a sentence a label. Target ids are labels."""

    purpose = "a tagger, which labels the words of a sentence"
    topic = "predictor"
    crf: Crf | None
    """The random field over the labels of a sentence; without one, each word's label is independent."""

    @property
    def vectors(self) -> nn.Module:
        """The module whose output (batch, source, width) are vectors of what stands at each position of the
        column `source`, without the positions themselves."""
        raise NotImplementedError

    def encode(self, inputs: Inputs) -> Tensor:
        """States (batch, words, width), one for each word; `output` maps them to a score for each label."""
        raise NotImplementedError


class Classifier(Network):
    """A model that gives a text one label. Target ids are labels."""

    purpose = "a classifier, which gives a text one label"
    topic = "predictor"

    def encode(self, inputs: Inputs) -> Tensor:
        """A vector (batch, width) for each text; `output` maps it to a score for each label."""
        raise NotImplementedError


class FrameClassifier(Classifier):
    """A `Classifier` whose column `source` is frames of a picture, a sound or an array."""

    purpose = "a classifier of pictures, sounds or arrays"


class Recogniser(Network):
    """A model that writes the text that a picture shows or a voice speaks. Target ids are characters."""

    purpose = "a recogniser, which writes the text of pictures or sounds"
    topic = "predictor"
    body: Seq2Seq[Any, Any]
    """The encoder-decoder, whose source is frames (batch, positions, frame width)."""
    ctc: nn.Linear | None
    """A second output layer, on the encoder's states (batch, positions, width), for CTC; its blank is the id
    of padding."""

    def positions(self, lengths: Tensor) -> Tensor:
        """The number of the encoder's positions (batch,) for numbers of frames (batch,)."""
        raise NotImplementedError


class Ranker(Network):
    """A model that scores the candidates of a list by their fields."""

    purpose = "a ranker, which scores the rows of a table"
    topic = "predictor"

    @property
    def max_history(self) -> int | None:
        """The largest number of items of a history that the model reads; None means no limit."""
        return None

    def scores(self, inputs: Inputs) -> Tensor:
        """Scores (lists, candidates): the logits of the probability of being chosen; anything at padding."""
        raise NotImplementedError


class MaskedLanguageModel(Network):
    """A model that reads a text with gaps, and predicts the pieces in them. Both sides have the same ids."""

    purpose = "a masked language model, which fills gaps in a text"
    topic = "predictor"

    def encode(self, source: PaddedValues) -> Tensor:
        """States (batch, source, width) of ids (batch, source)."""
        raise NotImplementedError

    def hidden(self, states: Tensor) -> Tensor:
        """States (..., width) as `output` reads them to predict the pieces at their places."""
        raise NotImplementedError

    def pooled(self, states: Tensor) -> Tensor | None:
        """A vector (batch, width) for each text from its states; None if the model has no pooler."""
        raise NotImplementedError


class Pointer(Network, Generic[MemoryT, StateT]):
    """A model that reads a sequence of inputs and answers with positions of these inputs.

    It has the methods of `IncrementalDecoder`, so that search drives it. Its tokens are positions: 0 for the
    mark at both ends of an answer, then the inputs from 1. There are as many logits as positions in the
    batch, -inf behind the end of a shorter row.
    """

    purpose = "a pointer network, which answers with positions of its inputs"
    topic = "predictor"
    joins: ClassVar[bool] = False
    """Whether sentences can join a batch that is being decoded; see `State.join`."""
    concurrent: ClassVar[bool] = False
    """See `IncrementalDecoder.concurrent`."""

    @property
    def max_target_length(self) -> int | None:
        """The longest answer, its end included; None means no limit."""
        return None

    def encode(self, source: Tensor, source_lengths: Tensor) -> MemoryT:
        """Encodes numbers (batch, source, numbers), padded on the right, with lengths (batch,)."""
        raise NotImplementedError

    def decode(self, target_in: Tensor, memory: MemoryT) -> Tensor:
        """Teacher-forced logits (batch, target, 1 + source) for positions target_in (batch, target)."""
        raise NotImplementedError

    def start(self, memory: MemoryT, max_length: int) -> StateT:
        """The state before the first position: one hypothesis per sentence."""
        raise NotImplementedError

    def step(self, token: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """Feeds positions (rows,), one to each row; returns logits (rows, 1 + source) and the next state."""
        raise NotImplementedError


def expect(network: nn.Module, family: type[FamilyT], *, what: str = "the model") -> FamilyT:
    """Returns the network as a member of the family.

    Raises UserError for a member of another family; the message names both. what: the subject of the message.
    """
    if isinstance(network, family):
        return network
    found, topic = (network.purpose, network.topic) if isinstance(network, Network) else ("unknown", None)
    raise Unsupported(f"{what} is {found}, but this needs {family.purpose}.", topic=topic)
