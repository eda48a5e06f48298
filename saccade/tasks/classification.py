"""Classification: training on texts with one label each, and accuracy for validation."""

from functools import partial
from pathlib import Path
from typing import ClassVar, cast

from torch import Tensor

from saccade.config import Section
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Classifier
from saccade.tasks.interface import Experiment
from saccade.tasks.labelling import Labelling, LabelValidationConfig, NoDecoding
from saccade.text.batching import Batch
from saccade.text.classification import (
    ClassifiedConfig,
    classified_columns,
    classified_lines,
    learn_texts,
)
from saccade.text.examples import ExamplesReport, prepare_examples
from saccade.text.language_model import TextTokenizerConfig
from saccade.text.preprocessor import Preprocessor
from saccade.text.tokenizer import Tokenizer
from saccade.training.labels import ClassCrossEntropy
from saccade.training.objective import Objective

SECTIONS: dict[str, type[Section]] = {
    "data": ClassifiedConfig,
    "tokenizer": TextTokenizerConfig,
    "validation": LabelValidationConfig,
    "decoding": NoDecoding,
}
"""The sections of the configuration that the task defines."""


class Classification(Labelling):
    """The task of classifiers."""

    tables: ClassVar = SECTIONS

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> ExamplesReport:
        """See `Task.prepare`."""
        config, pieces = cast(ClassifiedConfig, plan.data), cast(TextTokenizerConfig, plan.tokenizer)
        return prepare_examples(
            config,
            out=out,
            read=classified_lines,
            learn=partial(learn_texts, config=pieces, given=cast(Tokenizer | None, tokenizer)),
            columns=classified_columns,
            least=2,  # a piece and the end symbol
        )

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return ClassCrossEntropy(plan.training.label_smoothing or 0.0)

    def validation_objective(self) -> Objective:
        """See `Labelling.validation_objective`."""
        return ClassCrossEntropy()

    def guess(self, network: Classifier, batch: Batch) -> Tensor:
        """See `Labelling.guess`."""
        best: Tensor = network.output(network.encode(batch.columns)).argmax(-1)
        return best[:, None]
