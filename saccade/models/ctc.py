"""Non-autoregressive translation through CTC alignments (Libovický and Helcl 2018)."""

import torch
from torch import Tensor

from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import NonAutoregressive, NonAutoregressiveConfig, ParallelMemory
from saccade.nn.copying import copies_uniformly

_SLOTS = 2


class CtcModel(NonAutoregressive):
    """Writes into several slots for each source piece; a slot holds a token or the blank.

    Repeated tokens count once, then blanks are left out, so that the length needs no prediction. The
    blank is the padding id, which no target has. A slot reads a copy of a source embedding, or, where a
    token is revealed to it in training, that token's embedding.
    """

    def __init__(self, config: NonAutoregressiveConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary, reads_targets=True)

    @property
    def blank(self) -> int:
        """The id of nothing."""
        return self.vocabulary.pad

    def slots(self, memory: ParallelMemory) -> Tensor:
        """How many slots each sentence has (batch,); the end symbol has none."""
        return (memory.source_lengths - 1) * (self.config.slots or _SLOTS)

    def write(self, memory: ParallelMemory, revealed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, slots, width) and numbers of slots (batch,).

        revealed: (batch, slots) ids that slots read instead of their copies, -1 where they don't.
        """
        slots = self.slots(memory)
        index = copies_uniformly(memory.source_lengths - 1, slots)
        if revealed is None:
            return self.read_copies(index, slots, memory), slots
        assert self.target_embedding is not None
        known = self.target_embedding.scaled(revealed.clamp(min=0))
        copies = self.source_embedding.scaled(memory.source.gather(1, index))
        x = torch.where((revealed >= 0)[..., None], known, copies)
        return self.decode(self.source_embedding.placed(x), slots, memory), slots
