"""The non-autoregressive Transformer with fertilities (Gu et al. 2018, section 3)."""

import torch
from torch import Tensor, nn

from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import NonAutoregressive, NonAutoregressiveConfig, ParallelMemory
from saccade.nn.copying import copies_by_fertility, copies_uniformly
from saccade.nn.linear import Linear

_MAX_FERTILITY = 50


class FertilityModel(NonAutoregressive):
    """Predicts how many target pieces each source piece has, and reads as many copies of it.

    A fertility is a whole number from 0 to `max_fertility`. The end symbol has none, and no target ends
    in one: the sum of the fertilities is the length.
    """

    sees_itself = False

    def __init__(self, config: NonAutoregressiveConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary, reads_targets=False)
        classes = (config.max_fertility or _MAX_FERTILITY) + 1
        self.fertility = Linear(config.width, classes)
        nn.init.xavier_uniform_(self.fertility.weight)
        nn.init.zeros_(self.fertility.bias)

    def fertility_logits(self, memory: ParallelMemory) -> Tensor:
        """(batch, source, max_fertility + 1) of the encoder's last layer (section 3.3); those of the end
        symbol and of padding mean nothing."""
        logits: Tensor = self.fertility(memory.states)
        return logits

    def has_fertility(self, memory: ParallelMemory) -> Tensor:
        """(batch, source): the real source pieces, without end symbol and padding."""
        places = torch.arange(memory.states.size(1), device=memory.states.device)
        return places < memory.source_lengths[:, None] - 1

    def write(self, fertilities: Tensor, memory: ParallelMemory) -> tuple[Tensor, Tensor]:
        """fertilities (batch, source), 0 at end symbols and padding.

        Returns hidden states (batch, longest, width) and lengths (batch,).
        """
        index, lengths = copies_by_fertility(fertilities)
        if self.config.copies == "uniform":
            index = copies_uniformly(memory.source_lengths - 1, lengths)
        return self.read_copies(index, lengths, memory), lengths
