"""Attribution of what a model says of a text, or of places in it, to the tokens of the text."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from saccade.inspection.attribution.attributor import Attributor, backward, without_places
from saccade.inspection.attribution.embeddings import Embeddings, embedding_of
from saccade.models.families import Classifier
from saccade.text.batching import PaddedColumn
from saccade.text.examples import SOURCE

Columns = Mapping[str, PaddedColumn]


class ReadingAttributor(Attributor):
    """Attributes what is said of one text, whose `inputs` are columns of one row, to its source positions.

    embeddings: catches the embeddings of the source when the network reads the inputs.
    """

    def __init__(self, inputs: Columns, embeddings: Callable[[], Embeddings]) -> None:
        self.inputs, self.embeddings = inputs, embeddings
        self.length = self.positions = self.erasable = inputs[SOURCE].values.size(1)

    def gradient(self) -> Tensor:
        """See `Attributor.gradient`."""
        return backward(self.log_probs, self.embeddings())

    def _without(self, places: Tensor) -> dict[str, PaddedColumn]:
        """The columns aligned with the source, in rows that lack the position at one place each."""
        aligned = {
            name: column for name, column in self.inputs.items() if column.values.size(1) == self.length
        }
        return {
            name: replace(
                column,
                values=without_places(column.values, places),
                lengths=column.lengths.new_full((len(places),), self.length - 1),
                positions=len(places) * (self.length - 1),
            )
            for name, column in aligned.items()
        }


class LabelAttributor(ReadingAttributor):
    """Attributes the label (its id) of a text."""

    def __init__(self, network: Classifier, inputs: Columns, label: int) -> None:
        super().__init__(inputs, lambda: embedding_of(network, inputs[SOURCE].values))
        self.network, self.label = network, label

    def log_probs(self) -> Tensor:
        """See `Attributor.log_probs`: (1,)."""
        return self._score(self.inputs)[0]

    def without(self, places: Tensor) -> Tensor:
        """See `Attributor.without`."""
        return self._score(self._without(places))

    def _score(self, inputs: Columns) -> Tensor:
        """Log-probabilities in nats, float64 (rows, 1)."""
        logits: Tensor = self.network.output(self.network.encode(inputs))
        return logits.double().log_softmax(-1)[:, [self.label]]


class PlaceAttributor(ReadingAttributor):
    """Attributes what a model says of some places of its source: labels of words, pieces in gaps.

    places: the source positions that are spoken of, in order; said: the id of what is said of each.
    """

    places: Tensor

    def __init__(
        self,
        inputs: Columns,
        embeddings: Callable[[], Embeddings],
        *,
        places: Sequence[int],
        said: Sequence[int],
    ) -> None:
        super().__init__(inputs, embeddings)
        device = inputs[SOURCE].values.device
        self.places = torch.tensor(places, dtype=torch.int64, device=device)
        self.said = torch.tensor(said, dtype=torch.int64, device=device)

    @abstractmethod
    def score(self, inputs: Columns, places: Tensor, said: Tensor) -> Tensor:
        """Log-probabilities in nats, float64 (rows, tokens), of what is `said` of `places` (rows, tokens)."""

    def log_probs(self) -> Tensor:
        """See `Attributor.log_probs`."""
        return self.score(self.inputs, self.places[None], self.said[None])[0]

    def without(self, places: Tensor) -> Tensor:
        """See `Attributor.without`."""
        lacking = places.to(self.places.device)[:, None]
        kept = self.places != lacking  # (rows, tokens)
        found = torch.full(kept.shape, torch.nan, dtype=torch.float64, device=kept.device)
        remaining = kept.sum(1)
        for count in remaining.unique().tolist():  # rows without a place that is spoken of have fewer outputs
            if not count:
                continue
            rows = (remaining == count).nonzero()[:, 0]
            own = kept[rows]
            stand = self.places.expand(len(rows), -1)[own].view(len(rows), count)
            said = self.said.expand(len(rows), -1)[own].view(len(rows), count)
            moved = stand - (stand > lacking[rows]).long()
            values = self.score(self._without(places[rows.cpu()]), moved, said)
            part = found[rows]
            part[own] = values.flatten()
            found[rows] = part
        return found
