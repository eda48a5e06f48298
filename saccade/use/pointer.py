"""Using pointer networks: inputs of numbers in, positions of these inputs out."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from saccade.config import build
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.pointing import PointerDecoding
from saccade.decoding.search import search
from saccade.errors import InputError, TooLong
from saccade.inspection.attribution.pointing import PointingAttributor
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.machine import chosen_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Pointer
from saccade.models.pointer import PointerConfig
from saccade.text.batching import plan_for_inference
from saccade.text.lines import require_many, require_text
from saccade.text.pointing import Task, as_text, parse_answer, parse_inputs, read_tasks
from saccade.text.positions import END, END_MARK
from saccade.use.loaded import require_no_target
from saccade.use.pointed_scores import PointedScores
from saccade.use.predictor import Predictor

Inputs = NDArray[np.float32]
"""(inputs, numbers)"""


@dataclass(frozen=True)
class Pointed:
    """Inputs and the positions that answer them, counted from 1.

    text: the inputs as a line; log_prob: of the answer and its end, in nats; problem: the reason why there is
    no answer.
    """

    text: str
    positions: tuple[int, ...] = ()
    log_prob: float = 0.0
    problem: str | None = None

    def lines(self) -> list[str]:
        """The inputs, a tab and the positions, as in the file of a task."""
        return [f"{self.text}\t{' '.join(map(str, self.positions))}"]

    def as_dict(self) -> dict[str, Any]:
        """The answer in JSON types."""
        return {
            "inputs": self.text,
            "positions": list(self.positions),
            "log_prob": self.log_prob,
            "problem": self.problem,
        }


class InputPointer(Predictor):
    """A pointer network that is ready to answer."""

    family = Pointer
    network: Pointer[Any, Any]
    unit = "lines"
    sections = ("decoding",)

    def __init__(self, model: Model, *, device: torch.device | str = "cpu", **options: Any) -> None:
        """options: keys of `[decoding]`, instead of the model's own.

        Raises UserError for a model that is not a pointer network, and for an option that does not exist.
        """
        super().__init__(model, device=device)
        self.numbers = cast(PointerConfig, model.config).numbers
        self.options = build(PointerDecoding, {**model.decoding, **options}, where="decoding")

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str | None = None, **options: Any) -> Self:
        """Loads a model as `Predictor.load` does. options: keys of `[decoding]`."""
        place = chosen_device(device)
        made = cls(load_model(Path(folder)), device=place, **options)
        made.reopen = partial(cls.load, Path(folder).absolute(), device=place, **options)
        return made

    def _with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        made = copy.copy(self)
        decoding = {**self.options.model_dump(), **sections["decoding"]}
        made.options = build(PointerDecoding, decoding, where="decoding")
        return made

    def predict(self, tasks: Sequence[str | ArrayLike]) -> list[Pointed]:
        """Answers several tasks, each its inputs: an array (inputs, numbers), or a line of text.

        Inputs of one number each may also be (inputs,). A task without inputs has no answer, and one with too
        many gets a `problem`. Raises UserError for inputs of another form.
        """
        require_many(tasks, "tasks")
        return self._answers([self._inputs(task, place=f"tasks[{n}]") for n, task in enumerate(tasks)])

    def read(self, path: Path, *, answers: bool) -> Iterator[Task]:
        """See `Predictor.read`: inputs and, with answers, a tab and positions on each line."""
        return read_tasks(path, answers=answers)

    def run(self, items: Sequence[Task]) -> list[Pointed]:
        """See `Predictor.run`."""
        found = self._answers([self._inputs(one.inputs, place=one.place) for one in items])
        # As the file has them: a number may be written in more ways than one.
        return [replace(own, text=one.inputs) for one, own in zip(items, found, strict=True)]

    def score(self, items: Iterable[Task]) -> PointedScores:
        """Compares answers with those of a file. Raises UserError for inputs that cannot be read."""
        every = list(items)
        triples = []
        for one, found in zip(every, self.run(every), strict=True):
            if found.problem is not None:
                raise TooLong(f"{one.place}: {found.problem}")
            inputs = parse_inputs(one.inputs, numbers=self.numbers, place=one.place)
            gold = parse_answer(one.answer or "", inputs=len(inputs), place=one.place)
            triples.append((inputs.tolist(), gold, found.positions))
        return PointedScores.of(triples)

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        """See `LoadedModel.inspect`. What is pointed at is shown as attention of the answer to the inputs."""
        require_no_target(target)
        require_text(text, "text")
        inputs = self._inputs(text, place="the text")
        if not len(inputs):
            raise InputError("the text is empty: there is nothing to show.")
        [found] = self._answers([inputs])
        if found.problem is not None:
            raise TooLong(found.problem)
        source, lengths = self._batch([inputs])
        read = torch.tensor([[END, *found.positions]], device=self.device)
        record = inspect_reading(
            self.network,
            lambda: self.network.decode(read, self.network.encode(source, lengths)),
            word_tokens([END_MARK, *text.split()]),
            [*map(str, found.positions), END_MARK],
            text=text,
            name=name,
            attributor=PointingAttributor(self.network, source, found.positions, mark=END),
        )
        return replace(record, output=" ".join(map(str, found.positions)))

    def _inputs(self, task: str | ArrayLike, *, place: str) -> Inputs:
        """The inputs of a task; raises UserError if they have another form."""
        if isinstance(task, str):
            return parse_inputs(task, numbers=self.numbers, place=place)
        try:
            found = np.asarray(task, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{place}: these are no inputs of {self.numbers} numbers each: {error}."
            ) from error
        if found.size == 0 or (found.ndim == 1 and self.numbers == 1):
            found = found.reshape(-1, self.numbers)
        if found.ndim != 2 or found.shape[1] != self.numbers or not np.isfinite(found).all():
            raise InputError(
                f"{place}: an array of shape {found.shape}; give finite numbers, (inputs, {self.numbers})."
            )
        return found

    def _answers(self, tasks: Sequence[Inputs]) -> list[Pointed]:
        found = [Pointed(as_text(task)) for task in tasks]
        lengths = [len(task) for task in tasks]
        limit, fitting = self.network.max_source_length, []
        for number, length in enumerate(lengths):
            if limit is not None and length > limit:
                problem = f"{length} inputs, but the model reads at most {limit}; give it fewer."
                found[number] = replace(found[number], problem=problem)
            elif length:
                fitting.append(number)
        budget = max(1, self.options.batch_tokens // self.options.beam)
        for batch in plan_for_inference([lengths[number] for number in fitting], batch_tokens=budget):
            rows = [fitting[int(place)] for place in batch]
            answers = answers_of(
                self.network, *self._batch([tasks[row] for row in rows]), options=self.options
            )
            for row, own in zip(rows, answers, strict=True):
                found[row] = replace(found[row], positions=own.tokens, log_prob=own.log_prob)
        return found

    def _batch(self, tasks: Sequence[Inputs]) -> tuple[Tensor, Tensor]:
        """The inputs (tasks, inputs, numbers), padded on the right, and their lengths (tasks,)."""
        lengths = torch.tensor([len(task) for task in tasks])
        values = torch.zeros(len(tasks), int(lengths.max()), self.numbers)
        for row, task in zip(values, tasks, strict=True):
            row[: len(task)] = torch.from_numpy(task)
        return values.to(self.device), lengths.to(self.device)


def answers_of(
    network: Pointer[Any, Any], source: Tensor, lengths: Tensor, *, options: PointerDecoding
) -> list[Hypothesis]:
    """The best answer of each task, for source (tasks, inputs, numbers) and lengths (tasks,)."""
    return [found[0] for found in search(network, source, lengths, options=options.search)]
