"""The choice of the decoder of a translation model, so that its callers need not know the model's family."""

from collections.abc import Callable
from typing import Any

from torch import nn

from saccade.decoding.autoregressive import Autoregressive
from saccade.decoding.interface import Decoder
from saccade.decoding.nonautoregressive.decoders import DECODERS
from saccade.decoding.rerank import Reranker
from saccade.errors import ConfigError
from saccade.models.families import NonAutoregressive, Seq2Seq, TranslationModel, expect


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
