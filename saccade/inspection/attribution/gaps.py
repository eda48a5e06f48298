"""Attribution of the pieces that a masked language model predicts to the pieces of the text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.inspection.attribution.embeddings import embedding_of
from saccade.inspection.attribution.reading import Columns, PlaceAttributor
from saccade.models.families import MaskedLanguageModel
from saccade.text.examples import SOURCE


class GapAttributor(PlaceAttributor):
    """Attributes the likeliest piece for each of the gaps (source positions)."""

    def __init__(self, network: MaskedLanguageModel, inputs: Columns, *, gaps: Sequence[int]) -> None:
        source = inputs[SOURCE]
        with torch.inference_mode():
            states = network.encode(source)[0, list(gaps)]
            said = network.output(network.hidden(states)).argmax(-1).tolist()
        super().__init__(inputs, lambda: embedding_of(network, source.values), places=gaps, said=said)
        self.network = network

    def score(self, inputs: Columns, places: Tensor, said: Tensor) -> Tensor:
        """See `PlaceAttributor.score`."""
        rows = torch.arange(len(places), device=places.device)[:, None]
        states = self.network.encode(inputs[SOURCE])[rows, places]
        logits = self.network.output(self.network.hidden(states))
        found: Tensor = logits.double().log_softmax(-1).gather(2, said[..., None])[..., 0]
        return found
