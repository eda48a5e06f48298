"""The objectives of models that label: cross-entropy, or the likelihood of a random field over labels."""

from dataclasses import dataclass

from torch import Tensor

from saccade.models.families import Classifier, Tagger
from saccade.nn.loss import linear_cross_entropy
from saccade.text.batching import Batch
from saccade.text.examples import LABELS
from saccade.training.objective import Objective


@dataclass(frozen=True)
class ClassCrossEntropy(Objective):
    """Cross-entropy of the label of each text, in nats, summed over texts."""

    label_smoothing: float = 0.0

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """See `Objective`."""
        total: Tensor = linear_cross_entropy(
            model.encode(batch.columns),
            model.output.weight,
            model.output.bias,
            batch[LABELS].values[:, 0],
            label_smoothing=self.label_smoothing,
        )
        return total


@dataclass(frozen=True)
class LabelCrossEntropy(Objective):
    """Minus the log-probability of the labels, in nats, summed over words.

    With a random field it is that of all labels of a sentence together, and targets are not smoothed.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: Tagger, batch: Batch) -> Tensor:
        """See `Objective`."""
        labels = batch[LABELS]
        states = model.encode(batch.columns)  # (batch, words, width)
        if model.crf is not None:
            emissions = model.output(states)  # (batch, words, labels)
            scores = model.crf.score(emissions, labels.lengths, labels.values)
            return (model.crf.log_partition(emissions, labels.lengths) - scores).sum()
        real = labels.real  # (batch, words)
        total: Tensor = linear_cross_entropy(
            states[real],
            model.output.weight,
            model.output.bias,
            labels.values[real],
            label_smoothing=self.label_smoothing,
        )
        return total
