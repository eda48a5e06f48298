"""Attribution of the labels of words to the words, or the pieces, of their sentence."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from saccade.inspection.attribution.embeddings import output_of
from saccade.inspection.attribution.reading import Columns, PlaceAttributor
from saccade.models.families import Tagger
from saccade.text.examples import SOURCE
from saccade.text.tagging import FIRSTS


class TagAttributor(PlaceAttributor):
    """Attributes the label of each word. With a random field, its probability is the marginal one."""

    def __init__(self, network: Tagger, inputs: Columns, *, labels: Sequence[int]) -> None:
        firsts = inputs.get(FIRSTS)
        places = list(range(len(labels))) if firsts is None else firsts.values[0].tolist()
        super().__init__(inputs, lambda: output_of(network.vectors), places=places, said=labels)
        self.network = network

    def score(self, inputs: Columns, places: Tensor, said: Tensor) -> Tensor:
        """See `PlaceAttributor.score`."""
        if FIRSTS in self.inputs:
            firsts = replace(self.inputs[FIRSTS], values=places)
            inputs = {SOURCE: inputs[SOURCE], FIRSTS: firsts}
        emissions = self.network.output(self.network.encode(inputs)).double()  # (rows, words, labels)
        crf = self.network.crf
        if crf is None:
            log_probs = emissions.log_softmax(-1)
        else:
            lengths = torch.full_like(places[:, 0], places.size(1))
            log_probs = crf.log_marginals(emissions, lengths)
        found: Tensor = log_probs.gather(2, said[..., None])[..., 0]
        return found
