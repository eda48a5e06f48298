"""The conditional masked language model of mask-predict (CMLM, Ghazvininejad et al. 2019)."""

import torch
from torch import Tensor, nn

from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive import NonAutoregressive, NonAutoregressiveConfig, ParallelMemory
from saccade.nn.linear import Linear

_LONGEST_DIFFERENCE = 128


class MaskPredictModel(NonAutoregressive):
    """Predicts the length, and any subset of the target tokens from the others.

    A position to be predicted holds the start symbol, which no target has. No target ends in the end symbol:
    the length is said before. It is predicted as difference from the source's, at most 128 either way.
    """

    def __init__(self, config: NonAutoregressiveConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary, reads_targets=True)
        self.length_token = nn.Parameter(torch.empty(config.width))
        nn.init.normal_(self.length_token)
        self.length = Linear(config.width, 2 * _LONGEST_DIFFERENCE + 1)
        nn.init.xavier_uniform_(self.length.weight)
        nn.init.zeros_(self.length.bias)

    @property
    def mask(self) -> int:
        """The id of a position that is to be predicted."""
        return self.vocabulary.start

    def encode(self, source: Tensor, source_lengths: Tensor) -> ParallelMemory:
        """As the base, with a LENGTH token before the source that the decoder does not see (section 2.2)."""
        first = self.length_token.expand(source.size(0), 1, -1)
        x = torch.cat([first, self.source_embedding(source)], 1)
        states = self.encoder_norm(self.encoder(x, source_lengths + 1))
        return ParallelMemory(
            states=states[:, 1:],
            remembered=self.decoder.remember(states[:, 1:], source_lengths),
            source=source,
            source_lengths=source_lengths,
            summary=states[:, 0],
        )

    def length_logits(self, memory: ParallelMemory) -> Tensor:
        """(batch, classes), of the LENGTH token's state; see `length_of` and `class_of`."""
        logits: Tensor = self.length(memory.summary)
        return logits

    def length_of(self, classes: Tensor, memory: ParallelMemory) -> Tensor:
        """Target lengths of classes (batch, any), at least 1."""
        source = memory.source_lengths[:, None] - 1
        return (source + classes - _LONGEST_DIFFERENCE).clamp(min=1)

    def class_of(self, lengths: Tensor, memory: ParallelMemory) -> Tensor:
        """The class of each target length (batch,); the nearest one beyond the greatest difference."""
        difference = lengths - (memory.source_lengths - 1)
        limit = _LONGEST_DIFFERENCE
        return difference.clamp(-limit, limit) + limit

    def write(self, tokens: Tensor, lengths: Tensor, memory: ParallelMemory) -> Tensor:
        """Hidden states (batch, target, width) of tokens (batch, target), some of them `mask`."""
        assert self.target_embedding is not None
        return self.decode(self.target_embedding(tokens), lengths, memory)
