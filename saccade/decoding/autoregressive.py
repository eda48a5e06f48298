"""The decoders of models that write token by token: search over the model itself, an engine or a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.decoding.coverage import ranked_by_coverage
from saccade.decoding.fixed import Workspaces
from saccade.decoding.group import limits_of
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.lazy import Lazy
from saccade.decoding.memory import check_search
from saccade.decoding.options import DecodingConfig, length_penalty
from saccade.decoding.padding import padded
from saccade.decoding.scoring import target_log_probs
from saccade.decoding.search import search
from saccade.decoding.token_scores import StepwiseScores, TokenScores
from saccade.decoding.trace import Rounds, Trace
from saccade.errors import Unsupported
from saccade.models.families import Seq2Seq
from saccade.models.interface import IncrementalDecoder, Vocabulary
from saccade.models.recording import AttentionMap, cross_maps, record_attention


class SearchDecoder(Decoder):
    """Search and sampling with whatever has the methods of `IncrementalDecoder`.

    make_engine makes what search drives when it is first needed.
    """

    options = DecodingConfig
    device: torch.device | str = "cpu"
    """Where the hypotheses are kept."""
    attends: bool = False
    """Whether the attention to the source can be recorded."""

    def __init__(
        self,
        make_engine: Callable[[], IncrementalDecoder],
        vocabulary: Vocabulary,
        *,
        max_source_length: int | None,
        max_target_length: int | None,
    ) -> None:
        self._engine, self._workspaces = Lazy(make_engine), Workspaces()
        self.vocabulary = vocabulary
        self.max_source_length, self.max_target_length = max_source_length, max_target_length

    @property
    def engine(self) -> IncrementalDecoder:
        """The model or engine that search drives."""
        return self._engine.get()

    def check(self, options: DecodingConfig) -> None:
        """See `Decoder.check`."""
        if options.coverage_penalty and not self.attends:
            raise Unsupported(
                "decoding.coverage_penalty: an exported model and an ensemble have no attention to count. "
                "Leave it out, or use the model itself."
            )
        check_search(options, self.vocabulary, device=self.device)

    def concurrent(self, options: DecodingConfig) -> bool:
        """See `Decoder.concurrent`. Attention is recorded from the network by one thread at a time."""
        return self.engine.concurrent and not options.coverage_penalty

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        return search(
            self.engine,
            source,
            source_lengths,
            options=options,
            lines=lines,
            prefixes=prefixes,
            workspaces=self._workspaces,
        )

    def traced(
        self, source: Tensor, source_lengths: Tensor, *, options: DecodingConfig, prefix: Sequence[int]
    ) -> tuple[list[Hypothesis], Trace | Rounds]:
        """See `Decoder.traced`."""
        trace = Trace()
        [found] = search(
            self.engine, source, source_lengths, options=options, prefixes=[prefix], traces=[trace]
        )
        return found, trace

    def score(self, log_prob: float, length: int, *, options: DecodingConfig) -> float:
        """See `Decoder.score`."""
        return log_prob / length_penalty(length, kind=options.length_penalty, alpha=options.alpha)

    def sums_over(self, options: DecodingConfig, *, given: bool) -> str:
        """See `Decoder.sums_over`."""
        if given:
            return ""
        blocked = options.no_repeat_ngram_size and options.rules == "renormalized"
        parts = []
        if options.repetition_penalty != 1 or blocked:
            parts.append("log-probabilities under the rules against repetition")
        if options.coverage_penalty:
            parts.append("score: with the coverage penalty")
        return "; ".join(parts)


class Autoregressive(SearchDecoder):
    """Search, sampling and scoring with a trained network that writes token by token."""

    attends = True

    def __init__(self, network: Seq2Seq[Any, Any], make_engine: Callable[[], IncrementalDecoder]) -> None:
        super().__init__(
            make_engine,
            network.vocabulary,
            max_source_length=network.max_source_length,
            max_target_length=network.max_target_length,
        )
        self.network, self.device = network, network.output.weight.device

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig,
        lines: Sequence[int],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        if not options.coverage_penalty:
            return super().decode(source, source_lengths, options=options, lines=lines, prefixes=prefixes)
        whole = options.model_copy(update={"nbest": options.beam})
        found = super().decode(source, source_lengths, options=whole, lines=lines, prefixes=prefixes)
        ranked = ranked_by_coverage(
            self.align,
            source,
            source_lengths,
            found,
            strength=options.coverage_penalty,
            end=self.vocabulary.end,
        )
        return [own[: options.nbest] for own in ranked]

    def log_probs(
        self,
        source: Tensor,
        source_lengths: Tensor,
        targets: Sequence[Sequence[int]],
        *,
        options: DecodingConfig | None = None,
        prefixes: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """See `Decoder.log_probs`."""
        return scored(self.network, source, source_lengths, targets, options=options, prefixes=prefixes)

    def attention(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[AttentionMap]:
        """See `Decoder.attention`: one teacher-forced pass."""
        return self._recorded(source, source_lengths, [target])

    def token_scores(self, source: Tensor, target: Sequence[int], rounds: Rounds) -> TokenScores:  # noqa: ARG002
        """See `Decoder.token_scores`: given the tokens before."""
        return StepwiseScores(self.network, target, device=source.device)

    def align(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        """See `Decoder.align`: one teacher-forced pass."""
        return cross_maps(self._recorded(source, source_lengths, targets))

    def _recorded(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        start, pad = self.vocabulary.start, self.vocabulary.pad
        shifted, _ = padded([[start, *target[:-1]] for target in targets], pad=pad, device=source.device)
        with record_attention(self.network) as maps:
            self.network.decode(shifted, self.network.encode(source, source_lengths))
        return list(maps.values())


def scored(
    model: Any,
    source: Tensor,
    source_lengths: Tensor,
    targets: Sequence[Sequence[int]],
    *,
    options: DecodingConfig | None,
    prefixes: Sequence[Sequence[int]],
) -> Tensor:
    """What `Decoder.log_probs` returns, by a model that is `IncrementalDecoder` and `TeacherForced`."""
    limits = None
    if options is not None and options.rules != "plain":
        every, prefixes = [options] * len(targets), prefixes or [()] * len(targets)
        limits = limits_of(model, source_lengths, options=every, prefixes=prefixes)
    return target_log_probs(model, source, source_lengths, targets, limits=limits)
