"""Classification of pictures, sounds and arrays: one label for each file, and accuracy for validation."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from torch import Tensor

from saccade.config import Section
from saccade.errors import InputError
from saccade.frames.settings import FramesConfig
from saccade.model_folder.checkpoint import Model
from saccade.models.families import FrameClassifier
from saccade.tasks.interface import Experiment, Report
from saccade.tasks.labelling import Labelling, LabelValidationConfig, NoDecoding
from saccade.tasks.recorded import recorded_advice, require_manifest
from saccade.text.batching import Batch
from saccade.text.columns import Column
from saccade.text.corpus import Line
from saccade.text.encode import TextColumn
from saccade.text.examples import LABELS
from saccade.text.framed import FrameTokenizer
from saccade.text.labelled import LabelledTokenizer
from saccade.text.preprocessor import Preprocessor
from saccade.text.recorded import (
    ANSWER,
    FrameTokenizers,
    RecordedConfig,
    RecordedReport,
    open_prepared_recorded,
    prepare_recorded,
)
from saccade.training.labels import ClassCrossEntropy
from saccade.training.objective import Objective

SECTIONS: dict[str, type[Section]] = {
    "data": RecordedConfig,
    "tokenizer": FramesConfig,
    "validation": LabelValidationConfig,
    "decoding": NoDecoding,
}
"""The sections of the configuration that the task defines."""


class FrameClassification(Labelling):
    """The task of classifiers of pictures, sounds and arrays."""

    use = "read"
    tables: ClassVar = SECTIONS
    takes_encoder: ClassVar[bool] = False

    def require_text(self, data: Section) -> None:
        """See `Task.require_text`."""
        require_manifest(data)

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> RecordedReport:
        """See `Task.prepare`."""
        config = cast(FramesConfig, plan.tokenizer)

        def learn(lines: Callable[[], Iterator[Line]]) -> FrameTokenizers:
            if isinstance(tokenizer, LabelledTokenizer):
                return tokenizer
            labels = sorted({line.texts[ANSWER].strip() for line in lines()})
            if not labels:
                raise InputError("the training manifest has no lines.")
            return LabelledTokenizer(FrameTokenizer(config), labels)

        data = cast(RecordedConfig, plan.data)
        return prepare_recorded(data, out=out, learn=learn, answers=_label_column, what="labels")

    def opened(self, out: Path) -> Any:
        """See `Labelling.opened`."""
        return open_prepared_recorded(out)

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return ClassCrossEntropy(plan.training.label_smoothing or 0.0)

    def validation_objective(self) -> Objective:
        """See `Labelling.validation_objective`."""
        return ClassCrossEntropy()

    def guess(self, network: FrameClassifier, batch: Batch) -> Tensor:
        """See `Labelling.guess`."""
        best: Tensor = network.output(network.encode(batch.columns)).argmax(-1)
        return best[:, None]

    def batches_an_epoch(self, plan: Experiment, report: Report) -> int:
        """See `Task.batches_an_epoch`: an estimate, because the length of a batch's examples varies."""
        assert isinstance(report, RecordedReport)
        return max(1, -(-report.train.positions // plan.training.batch_tokens))

    def advice(self, plan: Experiment, report: Report, *, parameters: int) -> list[str]:
        """See `Task.advice`."""
        assert isinstance(report, RecordedReport)
        return recorded_advice(plan, report, batches=self.batches_an_epoch(plan, report))


def _label_column(tokenizer: FrameTokenizers) -> TextColumn:
    assert isinstance(tokenizer, LabelledTokenizer)

    def numbers(lines: Sequence[Line]) -> list[list[int]]:
        return [tokenizer.numbers([line.texts[ANSWER].strip()], place=line.place(ANSWER)) for line in lines]

    return TextColumn(Column.ids(LABELS, vocab_size=tokenizer.target_vocab_size), numbers)
