"""Tagging: training on sentences with a label for each word, and accuracy for validation."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

from torch import Tensor

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.model_folder.checkpoint import Model
from saccade.models.families import Tagger, TaggerSettings
from saccade.tasks.interface import Experiment
from saccade.tasks.labelling import (
    Labelling,
    LabelValidationConfig,
    NoDecoding,
)
from saccade.text.batching import Batch
from saccade.text.corpus import Line
from saccade.text.examples import (
    LABELS,
    ExamplesReport,
    prepare_examples,
)
from saccade.text.preprocessor import Preprocessor
from saccade.text.tagging import (
    TaggedConfig,
    TaggedTokenizerConfig,
    learn_words,
    sentence_reader,
    tagged_lines,
)
from saccade.text.tokenizer import Tokenizer
from saccade.training.labels import LabelCrossEntropy
from saccade.training.objective import Objective

SECTIONS: dict[str, type[Section]] = {
    "data": TaggedConfig,
    "tokenizer": TaggedTokenizerConfig,
    "validation": LabelValidationConfig,
    "decoding": NoDecoding,
}
"""The sections of the configuration that the task defines."""


class Tagging(Labelling):
    """The task of taggers."""

    tables: ClassVar = SECTIONS

    def check(self, plan: Experiment) -> None:
        """See `Task.check`."""
        super().check(plan)
        if plan.training.label_smoothing and cast(TaggerSettings, plan.model).crf:
            raise ConfigError(
                "training.label_smoothing: a random field is trained on whole sentences, whose labels are "
                "not smoothed; leave it out, or set model.crf = false."
            )

    def prepare(self, plan: Experiment, out: Path, *, tokenizer: Preprocessor | None) -> ExamplesReport:
        """See `Task.prepare`."""
        given = cast(Tokenizer | None, tokenizer)
        config, words = cast(TaggedConfig, plan.data), cast(TaggedTokenizerConfig, plan.tokenizer)
        spelled = cast(TaggerSettings, plan.model).spelled

        def read(path: Path) -> Iterator[Line]:
            return tagged_lines(path, field=config.field)

        return prepare_examples(
            config,
            out=out,
            read=read,
            learn=partial(learn_words, config=words, field=config.field, given=given),
            columns=lambda learned: sentence_reader(learned, spelled=spelled).with_labels,
            least=1,  # a sentence has words
        )

    def objective(self, plan: Experiment, teacher: Model | None) -> Objective:
        """See `Task.objective`."""
        return LabelCrossEntropy(plan.training.label_smoothing or 0.0)

    def validation_objective(self) -> Objective:
        """See `Labelling.validation_objective`."""
        return LabelCrossEntropy()

    def guess(self, network: Tagger, batch: Batch) -> Tensor:
        """See `Labelling.guess`: the most probable labels (rows, words)."""
        emissions: Tensor = network.output(network.encode(batch.columns))
        if network.crf is None:
            return emissions.argmax(-1)
        best, _ = network.crf.best(emissions, batch[LABELS].lengths)
        return best
