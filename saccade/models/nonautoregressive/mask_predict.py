"""The scheme of the conditional masked language model (CMLM, Ghazvininejad et al. 2019)."""

from torch import Tensor

from saccade.models.nonautoregressive.config import NonAutoregressiveConfig
from saccade.models.nonautoregressive.interface import AnyMemory, Scheme, pieces

_LONGEST_DIFFERENCE = 128


class MaskPredict(Scheme):
    """Predicts the length, and any subset of the target tokens from the others.

    A position to be predicted holds the start symbol, which no target has. Targets have no end symbol,
    because the length is predicted first: from the state of an extra token in front of the source, which the
    decoder does not see (section 2.2), as the difference from the source's length, at most 128 either way.
    """

    name = "mask-predict"
    reads = "target"
    embeds_target = True
    predicts = "sentence"
    undefined_score = "it would take the sum over all orders in which words are masked"

    @classmethod
    def classes(cls, config: NonAutoregressiveConfig) -> int:  # noqa: ARG003 - the same for all
        """Number of classes: the possible differences of length."""
        return 2 * _LONGEST_DIFFERENCE + 1

    @property
    def mask(self) -> int:
        """The id of a position that is to be predicted."""
        return self.body.vocabulary.start

    def length_logits(self, memory: AnyMemory) -> Tensor:
        """Logits of the length's class (batch, classes); see `length_of` and `class_of`."""
        return self.body.predict(memory)

    def length_of(self, classes: Tensor, memory: AnyMemory) -> Tensor:
        """Target lengths of classes (batch, any), at least 1."""
        return (pieces(memory)[:, None] + classes - _LONGEST_DIFFERENCE).clamp(min=1)

    def class_of(self, lengths: Tensor, memory: AnyMemory) -> Tensor:
        """The class of each target length (batch,), clamped to the greatest difference."""
        difference = lengths - pieces(memory)
        return difference.clamp(-_LONGEST_DIFFERENCE, _LONGEST_DIFFERENCE) + _LONGEST_DIFFERENCE

    def write(self, tokens: Tensor, lengths: Tensor, memory: AnyMemory) -> Tensor:
        """Hidden states (batch, target, width) of tokens (batch, target), some of them `mask`."""
        return self.body.decode(tokens, lengths, memory)
