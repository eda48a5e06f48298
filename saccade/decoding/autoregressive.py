"""The decoders of models that write token by token: search over the model itself, an engine or a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

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
from saccade.decoding.trace import Trace
from saccade.models.families import Seq2Seq
from saccade.models.interface import IncrementalDecoder, Vocabulary
from saccade.models.recording import AttentionMap, record_attention


class SearchDecoder(Decoder):
    """Search and sampling with whatever has the methods of `IncrementalDecoder`.

    make_engine makes what search drives when it is first needed.
    """

    options = DecodingConfig
    device: torch.device | str = "cpu"
    """Where the hypotheses are kept."""

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
        check_search(options, self.vocabulary, device=self.device)

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
    ) -> tuple[list[Hypothesis], Trace | None]:
        """See `Decoder.traced`."""
        trace = Trace()
        [found] = search(
            self.engine, source, source_lengths, options=options, prefixes=[prefix], traces=[trace]
        )
        return found, trace

    def score(self, log_prob: float, length: int, *, options: DecodingConfig) -> float:
        """See `Decoder.score`."""
        return log_prob / length_penalty(length, kind=options.length_penalty, alpha=options.alpha)


class Autoregressive(SearchDecoder):
    """Search, sampling and scoring with a trained network that writes token by token."""

    def __init__(self, network: Seq2Seq[Any, Any], make_engine: Callable[[], IncrementalDecoder]) -> None:
        super().__init__(
            make_engine,
            network.vocabulary,
            max_source_length=network.max_source_length,
            max_target_length=network.max_target_length,
        )
        self.network, self.device = network, network.output.weight.device

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
        limits = None
        if options is not None and options.rules != "plain":
            every, prefixes = [options] * len(targets), prefixes or [()] * len(targets)
            limits = limits_of(self.network, source_lengths, options=every, prefixes=prefixes)
        return target_log_probs(self.network, source, source_lengths, targets, limits=limits)

    def attention(self, source: Tensor, source_lengths: Tensor, target: Sequence[int]) -> list[AttentionMap]:
        """See `Decoder.attention`: one teacher-forced pass."""
        return self._recorded(source, source_lengths, [target])

    def align(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        """See `Decoder.align`: one teacher-forced pass."""
        found = self._recorded(source, source_lengths, targets)
        return [one for one in found if one.kind == "cross"]

    def _recorded(
        self, source: Tensor, source_lengths: Tensor, targets: Sequence[Sequence[int]]
    ) -> list[AttentionMap]:
        start, pad = self.vocabulary.start, self.vocabulary.pad
        shifted, _ = padded([[start, *target[:-1]] for target in targets], pad=pad, device=source.device)
        with record_attention(self.network) as maps:
            self.network.decode(shifted, self.network.encode(source, source_lengths))
        return list(maps.values())
