"""A whole family in one file, whose source is numbers: it reads a sequence of numbers as one number.

`tests/commands/test_new_family.py` enters it in four tables and does with it what is done with every family.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from saccade.config import Section
from saccade.errors import ConfigError, InputError
from saccade.inspection.reading import inspect_reading, word_tokens
from saccade.inspection.record import Inspection
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Network
from saccade.models.interface import Inputs, Vocabulary
from saccade.nn.linear import Linear
from saccade.nn.masks import padding_mask
from saccade.nn.pooling import AttentionPooling
from saccade.tasks.interface import Experiment, Material, Report, Task, named
from saccade.tasks.labelling import NoDecoding, require_reader_settings
from saccade.text.batching import Batch, PaddedColumn, collate, plan_batches
from saccade.text.cache import EncodedLines
from saccade.text.cache_writer import write_cache
from saccade.text.columns import Column
from saccade.text.corpus import Paths, file_hash
from saccade.text.preprocessor import Preprocessor
from saccade.text.reading import text_lines
from saccade.text.settings import read_settings, write_settings
from saccade.training.data import TrainingLines
from saccade.training.distributed import Group
from saccade.training.objective import Objective
from saccade.training.validation import ValidationSchedule, ValidationScores
from saccade.use.predictor import Predictor

SOURCE, TARGET = "source", "target"

# --- the model -----------------------------------------------------------------------------------


class MeterConfig(Section):
    """Settings of a meter."""

    kind: Literal["meter"] = "meter"
    """Kind of model."""
    width: int = 8
    """Size of its vectors."""


PRESETS: dict[str, dict[str, object]] = {"small": {}}


class Meter(Network):
    """A network of the family: numbers in, a number out."""

    purpose = "a meter, which reads numbers as one number"
    topic = "predictor"

    def __init__(self, config: MeterConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.input = Linear(1, config.width)
        self.pooling = AttentionPooling(config.width, heads=2)
        self.output = Linear(config.width, 1)

    def answer(self, inputs: Inputs) -> Tensor:
        """The answers (batch,)."""
        source = inputs[SOURCE]
        visible = padding_mask(source.lengths, source.values.size(1))
        found: Tensor = self.output(self.pooling(self.input(source.values).tanh(), visible=visible))[:, 0]
        return found


# --- what it reads -------------------------------------------------------------------------------


class MeterData(Section):
    """Settings of readings: on each line numbers, and after a tab what they mean."""

    text: Paths = ()
    """Training readings."""
    valid_text: Paths = ()
    """Validation readings."""


class MeterScale(Section):
    """Settings of the scale of readings."""

    unit: float = 1.0
    """What a number is divided by."""


class Scale:
    """The preprocessor: numbers divided by a unit."""

    kind: ClassVar[str] = "scale"
    source_vocab_size = target_vocab_size = 1
    pad = start = end = 0
    shared = False

    def __init__(self, unit: float) -> None:
        self.unit = unit

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(float(read_settings(folder)["config"]["unit"]))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(folder, kind=self.kind, config={"unit": self.unit})

    def column(self, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        numbers = [float(number) / self.unit for number in text.split()]
        return np.array(numbers, dtype=np.float32).reshape(-1, 1)


def read_readings(path: Path, *, answers: bool) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text_lines(path), start=1):
        text, tab, answer = line.partition("\t")
        if answers and not tab:
            raise InputError(f"{path}:{number}: no tab and what the numbers mean.")
        yield text, answer


@dataclass(frozen=True)
class MeterReport:
    readings: dict[str, int]
    files: dict[str, str]
    source_vocab_size: int = 1
    target_vocab_size: int = 1
    shared_vocabulary: bool = False

    def summary(self) -> list[str]:
        names = {"train": "training", "valid": "validation"}
        return [f"{names[split]}: {count} readings" for split, count in self.readings.items()]


# --- training ------------------------------------------------------------------------------------


class SquaredError(Objective):
    def __call__(self, model: Any, batch: Batch) -> Tensor:
        return mse_loss(model.answer(batch.columns), batch[TARGET].values[:, 0, 0], reduction="sum")


def reading_batch(lines: EncodedLines, indices: Sequence[int] | Any) -> Batch:
    return Batch(collate(lines, indices), counted=TARGET)


class Metering(Task):
    """The task of meters."""

    use = "predict"

    def sections(self, model: Section) -> dict[str, type[Section]]:
        return {
            "data": MeterData,
            "tokenizer": MeterScale,
            "validation": MeterValidation,
            "decoding": NoDecoding,
        }

    def check(self, plan: Experiment) -> None:
        require_reader_settings(plan)

    def require_text(self, data: Section) -> None:
        if not cast(MeterData, data).text:
            raise ConfigError("no training readings: set data.text.")

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> MeterReport:
        data, scale = cast(MeterData, plan.data), Scale(cast(MeterScale, plan.tokenizer).unit)
        self.require_text(data)
        scale.save(out / "tokenizer")
        counts = {}
        columns = [Column.numbers(name, np.float32, width=1) for name in (SOURCE, TARGET)]
        for split, paths in (("train", data.text), ("valid", data.valid_text)):
            read = [one for path in paths for one in read_readings(path, answers=True)]
            if read:
                each = ([scale.column(text) for text in side] for side in zip(*read, strict=True))
                with write_cache(out / split, columns) as writer:
                    writer.add(dict(zip((SOURCE, TARGET), each, strict=True)))
            counts[split] = len(read)
        files = {str(path): file_hash(path) for path in (*data.text, *data.valid_text)}
        report = MeterReport(counts, files)
        (out / "report.json").write_text(json.dumps(asdict(report)))
        return report

    def material(self, plan: Experiment, out: Path, group: Group) -> Material:
        report = MeterReport(**json.loads((out / "report.json").read_text()))
        training, train = plan.training, EncodedLines.open(out / "train")
        data = TrainingLines(
            lines_of=lambda _: train,
            collate=reading_batch,
            sides=(SOURCE,),
            batch_tokens=training.batch_tokens,
            accumulate=training.accumulate,
            seed=training.seed,
        )
        validate = None
        if report.readings["valid"]:
            valid = EncodedLines.open(out / "valid")
            validate = partial(validate_readings, lines=valid, batch_tokens=training.batch_tokens)
        provenance = {"data": named(report.files), "pairs": len(train)}
        return Material(Scale.load(out / "tokenizer"), lambda _: data, validate, provenance)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        return SquaredError()

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        return 1

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        return []


class MeterValidation(ValidationSchedule):
    """When to validate a meter."""

    metric: Literal["loss"] = "loss"
    """Score that decides which checkpoint is the best."""


@torch.no_grad()
def validate_readings(model: Model, lines: EncodedLines, batch_tokens: int) -> ValidationScores:
    network = model.network.eval()
    plan = plan_batches(lines[SOURCE].lengths, batch_tokens=batch_tokens, seed=0, epoch=0)
    total = sum(float(SquaredError()(network, reading_batch(lines, indices))) for indices in plan)
    return ValidationScores(total / len(lines), math.exp(total / len(lines)))


# --- use -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    text: str
    answer: float
    problem: str | None = None

    def lines(self) -> list[str]:
        return [f"{self.text}\t{self.answer:.4f}"]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class MeterReader(Predictor):
    """A meter that is ready to read numbers."""

    family = Meter
    unit = "readings"

    def __init__(self, model: Model, *, device: torch.device | str = "cpu") -> None:
        super().__init__(model, device=device)
        self.scale = cast(Scale, cast(Any, model.tokenizer))

    def read(self, path: Path, *, answers: bool) -> Iterator[str]:
        return (text for text, _ in read_readings(path, answers=answers))

    def run(self, items: Sequence[str]) -> list[Reading]:
        with torch.inference_mode():
            found = self.network.answer(self._inputs(items)).tolist()
        return [Reading(text, one * self.scale.unit) for text, one in zip(items, found, strict=True)]

    def inspect(self, text: str, target: str | None = None, *, name: str = "") -> Inspection:
        inputs, answer = self._inputs([text]), self.run([text])[0].answer
        places = word_tokens(text.split())
        return inspect_reading(
            self.network, lambda: self.network.answer(inputs), places, [f"{answer:.2f}"], text=text, name=name
        )

    def _inputs(self, items: Sequence[str]) -> dict[str, PaddedColumn]:
        numbers = [torch.from_numpy(self.scale.column(text)) for text in items]
        lengths = torch.tensor([len(one) for one in numbers])
        values = torch.nn.utils.rnn.pad_sequence(numbers, batch_first=True)  # (items, longest, 1)
        return {SOURCE: PaddedColumn(values, lengths, 0, int(lengths.sum()))}
