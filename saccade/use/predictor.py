"""The interface of classes that use a model which reads a text and says something about it.

`saccade predict` knows only this interface, so a family that has it needs no command of its own.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from saccade.errors import ConfigError, Unsupported
from saccade.machine import chosen_device, usable_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Network, expect
from saccade.native.fork import survive_fork
from saccade.use.loaded import LoadedModel


class Prediction(Protocol):
    """What a model says about one item of a text, such as a sentence."""

    @property
    def problem(self) -> str | None:
        """The reason why nothing is said about the item, or None."""
        ...

    def lines(self) -> Sequence[str]:
        """The prediction as lines of text, in the form of the file that was read."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """The prediction in JSON types."""
        ...


class Scores(Protocol):
    """How well predictions agree with what a file says."""

    def lines(self) -> Sequence[str]:
        """Human-readable summary lines."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        ...

    def draw(self, out: Path) -> None:
        """Draws a picture of the scores; raises UserError if that is not possible."""
        ...


@dataclass(frozen=True)
class Embedded:
    """The vectors that an encoder makes of one text.

    pieces: what it read; states (pieces, width): a vector for each; vector (width,): one for the whole text.
    """

    text: str
    pieces: tuple[str, ...]
    states: Tensor
    vector: Tensor


@dataclass(frozen=True)
class Filled:
    """A way to fill a masked place. probability: of this piece at the place; text: the text with it."""

    piece: str
    probability: float
    text: str


class Predictor(LoadedModel):
    """The base of these classes. What a family does not do raises `Unsupported`."""

    topic = "predictor"
    family: ClassVar[type[Network]]
    """Whose models the class uses."""
    network: Any
    """The network, a member of `family`."""
    unit: ClassVar[str]
    """What a file consists of, in messages: sentences, lines."""

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        """Raises UserError for a model of another family."""
        survive_fork()
        self.model, self.network = model, expect(model.network, self.family)
        self.device = usable_device(device)
        self.network.to(self.device)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str | None = None) -> Self:
        """Loads a model folder or a run folder (its best checkpoint). device: unset: a GPU if available."""
        place = chosen_device(device)
        made = cls(load_model(Path(folder)), device=place)
        made.reopen = partial(cls.load, Path(folder).absolute(), device=place)
        return made

    @abstractmethod
    def read(self, path: Path, *, answers: bool) -> Iterator[Any]:
        """Yields the items of a file. answers: whether the file has to say what should be predicted."""

    @abstractmethod
    def run(self, items: Sequence[Any]) -> Sequence[Prediction]:
        """The prediction of each item, in order."""

    def draw(self, text: str, out: Path) -> list[str]:  # noqa: ARG002
        """Draws what the model attends to over what it reads; returns notes for the user."""
        raise ConfigError(f"{out}: only a translation can be drawn as a picture; write a .html page.")

    def score(self, items: Iterable[Any]) -> Scores:  # noqa: ARG002
        """Compares predictions with what a file says."""
        raise Unsupported("this model gives no labels that could be scored.")

    def fill(self, text: str, *, top: int = 5) -> list[list[Filled]]:  # noqa: ARG002
        """For each masked place of a text, the most probable pieces, the best ones first."""
        raise Unsupported("this model fills no masked places; that needs a masked language model.")

    def embed(self, texts: Sequence[str]) -> list[Embedded]:  # noqa: ARG002
        """The vectors of each text."""
        raise Unsupported("this model gives no vectors of texts; that needs a masked language model.")
