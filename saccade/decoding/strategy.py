"""The two decoding strategies: token by token, or all positions at once.

`decoder_of` chooses the strategy of a model, so that its callers need not know the model's family.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from saccade.decoding.group import limits_of
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.lazy import Lazy
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.decoding.options import DecodingConfig, length_penalty
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker
from saccade.decoding.scoring import target_log_probs
from saccade.decoding.search import search
from saccade.errors import ConfigError
from saccade.models.families import NonAutoregressive, Seq2Seq, TranslationModel, expect
from saccade.models.interface import IncrementalDecoder
from saccade.models.recording import AttentionMap, record_attention


class Autoregressive(Decoder):
    """Search, sampling and scoring with a model that writes token by token.

    make_engine makes what search drives when it is first needed: the model itself, or a faster engine.
    """

    options = DecodingConfig

    def __init__(self, network: Seq2Seq[Any, Any], make_engine: Callable[[], IncrementalDecoder]) -> None:
        self.network, self._engine = network, Lazy(make_engine)
        self.vocabulary = network.vocabulary
        self.max_source_length = network.max_source_length
        self.max_target_length = network.max_target_length

    @property
    def engine(self) -> IncrementalDecoder:
        """The model or engine that search drives."""
        return self._engine.get()

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
        return search(self.engine, source, source_lengths, options=options, lines=lines, prefixes=prefixes)

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

    def score(self, log_prob: float, length: int, *, options: DecodingConfig) -> float:
        """See `Decoder.score`."""
        return log_prob / length_penalty(length, kind=options.length_penalty, alpha=options.alpha)

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


def decoder_of(
    network: nn.Module, make_engine: Callable[[], Any] | None = None, *, reranker: Reranker | None = None
) -> Decoder:
    """The decoder of a translation model.

    make_engine: makes a faster engine than the network, if one exists. reranker: picks among the candidates
    of a non-autoregressive model.

    Raises UserError for a model that does not translate, and for a reranker with an autoregressive model.
    """
    model = expect(network, TranslationModel)
    make: Callable[[], Any] = make_engine or (lambda: model)
    if isinstance(model, NonAutoregressive):
        decoder = DECODERS[model.config.decoder]
        return decoder(make, model.vocabulary, network=model, reranker=reranker)
    if reranker is not None:
        raise ConfigError(
            "a reranker picks among the candidates of a non-autoregressive model; this model writes token by "
            "token and ranks its own hypotheses. Leave the reranker out."
        )
    return Autoregressive(expect(model, Seq2Seq), make)
