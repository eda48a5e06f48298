"""The base class of the decoders of non-autoregressive schemes."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.lazy import Lazy
from saccade.decoding.rerank import Reranker
from saccade.decoding.token_scores import TokenScores
from saccade.decoding.trace import Rounds, Trace
from saccade.errors import Unsupported
from saccade.models.families import NonAutoregressive
from saccade.models.interface import Vocabulary
from saccade.models.nonautoregressive.interface import Body, Scheme
from saccade.models.recording import AttentionMap, record_attention

SchemeT = TypeVar("SchemeT", bound=Scheme)


class NonAutoregressiveDecoder(Decoder, Generic[SchemeT]):
    """Drives a scheme over the trained network and, for decoding, over a faster body.

    make_engine makes that body when it is first needed; reranker picks among the candidates. network is the
    trained one, None if there is only an exported graph.
    """

    scheme: type[SchemeT]
    reads_before = False

    def __init__(
        self,
        make_engine: Callable[[], Body],
        vocabulary: Vocabulary,
        *,
        network: NonAutoregressive | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._engine = Lazy(lambda: self.scheme(make_engine()))
        self.network, self.reranker = network, reranker
        self.vocabulary = vocabulary
        self.max_source_length = self.max_target_length = None  # sinusoidal positions have no limit

    @property
    def engine(self) -> SchemeT:
        """The scheme over the body that decodes."""
        return self._engine.get()

    @property
    def trained(self) -> SchemeT:
        """The scheme over the trained network; UserError if there is none."""
        if self.network is None:
            raise Unsupported(self._refusal)
        return self.scheme(cast(Body, self.network))

    @torch.inference_mode()
    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: Any,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`: one hypothesis for each sentence. Raises UserError for a prefix."""
        if any(prefixes):
            raise Unsupported(
                "a non-autoregressive model cannot take a forced prefix, because it would write the words "
                "after the prefix without seeing it. Leave the prefix out."
            )
        return self.write(source, source_lengths, options=options, lines=lines)

    @abstractmethod
    def write(
        self, source: Tensor, source_lengths: Tensor, *, options: Any, lines: Sequence[int]
    ) -> list[list[Hypothesis]]:
        """Decodes a batch; returns one hypothesis for each sentence. See `Decoder.decode`."""

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: Any = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """See `Decoder.log_probs`. Raises UserError if the scheme gives a target no tractable probability."""
        raise Unsupported(
            f"a non-autoregressive model with decoder = {self.scheme.name} cannot score a target: "
            f"{self.scheme.undefined_score}. Use its teacher to score."
        )

    def sums_over(self, options: Any, *, given: bool) -> str:
        """See `Decoder.sums_over`."""
        reranked = not given and self.reranker is not None and options.candidates > 1
        return self.summed(options, given=given) + ("; score: the reranker's" if reranked else "")

    @abstractmethod
    def summed(self, options: Any, *, given: bool) -> str:
        """What a log_prob sums over; given: of a given target, otherwise of a translation."""

    def attention(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[AttentionMap]:
        """See `Decoder.attention`."""
        with record_attention(cast(nn.Module, self.trained.body)) as maps:
            self.force(source, source_lengths, list(target[:-1]))
        return list(maps.values())

    @abstractmethod
    def force(self, source: Tensor, source_lengths: Tensor, pieces: list[int]) -> None:
        """Runs the trained network over one sentence and a given target without end symbol."""

    def axis(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[int]:
        """The target without its end symbol."""
        return list(target[:-1])

    @torch.inference_mode()
    def traced(
        self, source: Tensor, source_lengths: Tensor, *, options: Any, prefix: Sequence[int]
    ) -> tuple[list[Hypothesis], Trace | Rounds]:
        """See `Decoder.traced`: the rounds of the translation."""
        found, _ = super().traced(source, source_lengths, options=options, prefix=prefix)
        return found, self.rounds(source, source_lengths, found[0])

    @abstractmethod
    def rounds(self, source: Tensor, source_lengths: Tensor, found: Hypothesis) -> Rounds:
        """The rounds in which the trained network writes a translation of one sentence."""

    def token_scores(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> TokenScores:
        """See `Decoder.token_scores`; `token_log_probs` says what the probability of a token is."""
        return _ScoresAtOnce(self, source, target, rounds)

    def outputs(self, target: Sequence[int]) -> list[int]:
        """The ids whose log-probabilities `token_log_probs` gives: the target without its end symbol."""
        return list(target[:-1])

    @abstractmethod
    def token_log_probs(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> Tensor:
        """Log-probabilities in nats, float64 (rows, tokens), of the tokens of one target, given sources.

        source (rows, source): ids without padding, the end symbol last. They have gradients, and are NaN for
        a target that cannot be written. rounds: those of `traced`, if the target is the model's translation.
        """

    def copies(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> Tensor | None:
        """The source positions (1, positions) whose embeddings the decoder reads; None if it reads none."""
        return None


class _ScoresAtOnce(TokenScores):
    """Those of the tokens that a model writes at once.

    The end symbol of the source cannot be left out, because the positions of the decoder are counted from it.
    """

    kept = 1

    def __init__(
        self, decoder: NonAutoregressiveDecoder[Any], source: Tensor, target: Sequence[int], rounds: Rounds
    ) -> None:
        self.decoder, self.source, self.target, self.rounds = decoder, source, target, rounds
        self.tokens = len(decoder.outputs(target))
        with torch.no_grad():
            axis = decoder.axis(source, self._lengths, target)
        self.positions = len(axis) * max(len(rounds), 1)
        self.logits = self.positions * cast(NonAutoregressive, decoder.network).output.out_features

    @property
    def _lengths(self) -> Tensor:
        return torch.full_like(self.source[:, 0], self.source.size(1))

    @property
    def copies(self) -> Tensor | None:
        """See `TokenScores.copies`."""
        with torch.no_grad():
            return self.decoder.copies(self.source, self._lengths, self.target)

    def log_probs(self, source: Tensor) -> Tensor:
        """See `TokenScores.log_probs`."""
        return self.decoder.token_log_probs(source, self.target, self.rounds)
