"""What a translator asks of a decoder: a trained model, an engine or an exported graph, ready for use."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from saccade.config import Section
from saccade.decoding.hypothesis import Hypothesis
from saccade.errors import Unsupported
from saccade.models.interface import Vocabulary
from saccade.models.recording import AttentionMap


class Decoder(ABC):
    """The one face of everything that decodes.

    Sources are (sentences, source) ids, padded on the right, with lengths (sentences,); targets are lists of
    ids with the end symbol last.
    """

    vocabulary: Vocabulary
    max_source_length: int | None
    """The longest source that can be read, end symbol included; None means no limit."""
    max_target_length: int | None
    """The longest target that can be written; None means no limit."""
    options: type[Section]
    """The section `[decoding]`; its `batch_tokens` and `rows_per_sentence` size the batches."""
    reads_target: bool = True
    """Whether the attention that `attention` records depends on the target."""

    @abstractmethod
    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: Any,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each sentence, best first.

        options: an instance of `options`. lines: the sentences' line numbers, which seed random draws.
        prefixes: ids that each target must begin with.
        """

    def check(self, options: Any) -> None:  # noqa: B027 - most have no objections
        """Raise UserError for valid options that this decoder cannot follow."""

    def log_probs(self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities in nats, float64 (sentences,), of targets, end symbols included."""
        raise Unsupported(self._refusal)

    def attention(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[AttentionMap]:
        """Every attention of the model while it reads one sentence and writes the target."""
        raise Unsupported(self._refusal)

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The ids along the target axis of that attention."""
        return list(target)

    def align(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        """The cross-attention of each layer, (sentences, heads, target, source), writing the targets."""
        raise Unsupported("alignments come from a model that writes token by token; this one does not.")

    _refusal = "an exported model translates and does nothing else: use the model that it was made from."
