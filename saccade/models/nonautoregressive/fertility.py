"""The scheme of fertilities (Gu et al. 2018, "Non-Autoregressive Neural Machine Translation", section 3)."""

from torch import Tensor

from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.interface import AnyMemory, Scheme, pieces, real_pieces
from saccade.nn.copying import copies_by_fertility, copies_uniformly

_MAX_FERTILITY = 50


class Fertility(Scheme):
    """Predicts the number of target pieces of each source piece; the decoder reads as many copies of it.

    A fertility is a whole number from 0 to `max_fertility`. The end symbol has none, and targets have no end
    symbol, so that the fertilities add up to the target length.
    """

    name = "fertility"
    reads = "source"
    embeds_target = False
    sees_itself = False
    positional_attention = True
    predicts = "piece"
    needs_fertilities = True
    undefined_score = "it would take the sum over all fertilities"

    @classmethod
    def classes(cls, config: NonAutoregressiveConfig) -> int:
        """Number of classes: the fertilities from 0 to the greatest."""
        return (config.max_fertility or _MAX_FERTILITY) + 1

    def logits(self, memory: AnyMemory) -> Tensor:
        """Logits of each piece's fertility (batch, source, max_fertility + 1), from the encoder's last layer.

        Those of the end symbol and of padding mean nothing (section 3.3).
        """
        return self.body.predict(memory)

    def has_fertility(self, memory: AnyMemory) -> Tensor:
        """Mask (batch, source) of the positions that have a fertility: the pieces."""
        return real_pieces(memory)

    def copies(self, fertilities: Tensor, memory: AnyMemory) -> tuple[Tensor, Tensor]:
        """The source position (batch, longest) of each decoder input, and the lengths (batch,)."""
        index, lengths = copies_by_fertility(fertilities)
        if self.body.config.copies == "uniform":
            index = copies_uniformly(pieces(memory), lengths)
        return index, lengths

    def write(self, fertilities: Tensor, memory: AnyMemory) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, longest, width) and lengths (batch,) for fertilities (batch, source).

        The fertilities of end symbols and padding must be 0.
        """
        index, lengths = self.copies(fertilities, memory)
        return self.body.decode(memory.source.gather(1, index), lengths, memory), lengths
