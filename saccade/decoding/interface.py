"""The interface of decoders: a trained model, an engine or an exported graph that is ready for use."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from saccade.config import Section
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.token_scores import TokenScores
from saccade.decoding.trace import Rounds, Trace
from saccade.errors import Unsupported
from saccade.models.interface import Vocabulary
from saccade.models.recording import AttentionMap


class Decoder(ABC):
    """The interface that a translator uses to decode, score and record attention.

    Sources are (sentences, source) ids, padded on the right, with lengths (sentences,); targets are lists of
    ids with the end symbol last.
    """

    vocabulary: Vocabulary
    max_source_length: int | None
    """The longest source that can be read, end symbol included; None means no limit."""
    max_target_length: int | None
    """The longest target that can be written; None means no limit."""
    options: type[Section]
    """The class of the section `[decoding]`; its `batch_tokens` and `rows_per_sentence` size the batches."""
    network: Any = None
    """The trained network; None for an exported model."""
    reads_target: bool = True
    """Whether the attention that `attention` records depends on the target."""
    reads_before: bool = True
    """Whether the decoder reads the tokens before each token of the target, the start symbol first, and not
    positions of the target itself."""

    def concurrent(self, options: Any) -> bool:
        """Whether threads can decode a batch each, and are faster so than all of them on one batch."""
        return False

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
        """Decodes a batch; returns the hypotheses of each sentence, best first.

        options: an instance of `options`. lines: the sentences' line numbers, which seed random draws.
        prefixes: ids that each target must begin with.
        """

    def traced(
        self, source: Tensor, source_lengths: Tensor, *, options: Any, prefix: Sequence[int]
    ) -> tuple[list[Hypothesis], Trace | Rounds]:
        """Decodes one sentence as `decode` does; also returns the trace of the search, or the rounds.

        A decoder that records neither has no rounds.
        """
        [found] = self.decode(source, source_lengths, options=options, lines=[0], prefixes=[prefix])
        return found, ()

    def check(self, options: Any) -> None:  # noqa: B027 - most have no objections
        """Raises UserError for valid options that this decoder cannot follow."""

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: Any = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """Log-probabilities in nats, float64 (sentences,), of targets, end symbols included.

        options, prefixes: those of `decode`, whose rules then count tokens in the same way; None: each token
        counts in full.
        """
        raise Unsupported(self._refusal)

    def attention(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[AttentionMap]:
        """Attention maps of every layer while the model reads one sentence and writes the target."""
        raise Unsupported(self._refusal)

    def attended(
        self, source: Tensor, source_lengths: Tensor, target: Sequence[int], rounds: Rounds
    ) -> list[AttentionMap]:
        """The maps of the rounds in which the tokens of a translation were written, else as `attention`."""
        return self.attention(source, source_lengths, target)

    def token_scores(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> TokenScores | None:
        """The probability of each token of a target, given sources such as `source` (1, source).

        rounds: those of `traced`, if the target is the model's translation. None without a trained network.
        """
        return None

    def slots(
        self, source: Tensor, source_lengths: Tensor, target: Sequence[int]
    ) -> list[tuple[int, ...]] | None:
        """The positions of `axis` that write each output token; None if these are the same."""
        return None

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The ids along the target axis of the maps that `attention` returns."""
        return list(target)

    def fertilities(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int] | None:
        """The number of target pieces of each source piece, 0 for the end symbol; None if there are none."""
        return None

    def align(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        """The cross-attention maps of each layer, (sentences, heads, target, source), for given targets."""
        raise Unsupported(
            "alignment needs a trained model whose attention depends on the target: one that writes token by "
            "token, or predicts masked tokens. This one does neither."
        )

    def score(self, log_prob: float, length: int, *, options: Any) -> float:
        """log_prob under the length penalty of a target of `length` tokens, end symbol included."""
        return log_prob

    def sums_over(self, options: Any, *, given: bool) -> str:
        """What a log_prob sums over, if that of a translation is not that of the same text when it is given.

        given: of a given target; otherwise of a translation. "" if there is no difference.
        """
        return ""

    _refusal = "an exported model can only translate: use the model that it was exported from."
