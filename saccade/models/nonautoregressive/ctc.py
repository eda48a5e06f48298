"""The scheme of CTC alignments (Libovický and Helcl 2018)."""

from torch import Tensor

from saccade.models.nonautoregressive.interface import AnyMemory, Scheme, pieces
from saccade.nn.copying import copies_uniformly

_SLOTS = 2


class Ctc(Scheme):
    """Writes into several slots for each source piece; a slot holds a token or the blank.

    Repeated tokens count once, then blanks are removed, so that the length needs no prediction. The blank is
    the padding id, which no target has. A slot reads a copy of a source embedding or, if training reveals a
    token to it, that token's embedding.
    """

    name = "ctc"
    reads = "source"
    embeds_target = True

    @property
    def blank(self) -> int:
        """The ID of the CTC blank token."""
        return self.body.vocabulary.pad

    def slots(self, memory: AnyMemory) -> Tensor:
        """The number of slots of each sentence (batch,); the end symbol has none."""
        return pieces(memory) * (self.body.config.slots or _SLOTS)

    def copies(self, memory: AnyMemory) -> Tensor:
        """The source position (batch, slots) whose embedding is copied into each of the slots."""
        return copies_uniformly(pieces(memory), self.slots(memory))

    def write(self, memory: AnyMemory, revealed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, slots, width) and numbers of slots (batch,).

        revealed (batch, slots): ids that slots read instead of their copies, -1 for none.
        """
        slots = self.slots(memory)
        read = memory.source.gather(1, self.copies(memory))  # (batch, slots)
        return self.body.decode(read, slots, memory, revealed=revealed), slots
