"""Making the decoder of a translation model, or of several, in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from saccade.decoding.ensemble import EnsembleDecoder
from saccade.decoding.interface import Decoder
from saccade.decoding.rerank import Reranker
from saccade.decoding.strategy import decoder_of
from saccade.engine import make_engine, require_possible, unsupported_reason
from saccade.errors import ConfigError, Unsupported
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Network, Seq2Seq, expect
from saccade.nn.copy_attention import CopyingOutput
from saccade.quantisation import PRECISIONS, RunPrecision
from saccade.text.tokenizer import Tokenizer, same_pieces

Engine = Literal["saccade", "torch"]
"""Inference backend: "saccade" uses our CPU kernels if they support the model, "torch" only torch."""


def decoder_for(
    models: Sequence[Model],
    *,
    device: torch.device | str,
    precision: RunPrecision | None,
    reranker: Model | str | Path | None,
    engine: Engine,
) -> Decoder:
    """The decoder of a model, or of several that write one translation together.

    The arguments are those of `Translator.ensemble`.
    """
    for name, value, allowed in (("engine", engine, get_args(Engine)), ("precision", precision, PRECISIONS)):
        if value is not None and value not in allowed:
            raise ConfigError(f"{name} = {str(value)[:40]!r}: allowed are {', '.join(allowed)}.")
    if not models:
        raise ConfigError("an ensemble needs at least one model.")
    if len(models) > 1:
        _require_ensemble(models, reranker)
    for model in models:
        _require_engine(model.network.to(device), engine, precision)
    makers = [
        _engine_of(model, precision) if engine == "saccade" else _itself(model.network) for model in models
    ]
    if len(models) > 1:
        return EnsembleDecoder([expect(model.network, Seq2Seq) for model in models], makers)
    if isinstance(reranker, str | Path):
        reranker = load_model(Path(reranker))
    judge = None if reranker is None else make_reranker(reranker, models[0].tokenizer, device)
    return decoder_of(models[0].network, makers[0], reranker=judge)


def _require_ensemble(models: Sequence[Model], reranker: object) -> None:
    """Raises UserError for a model that does not write token by token, or has other pieces than the first."""
    if reranker is not None:
        raise ConfigError(
            "a reranker picks among the candidates of a non-autoregressive model; an ensemble ranks its own "
            "hypotheses. Leave the reranker out."
        )
    first = models[0]
    for number, model in enumerate(models, start=1):
        expect(model.network, Seq2Seq, what=f"model {number} of the ensemble")
        if model.network.vocabulary != first.network.vocabulary or not same_pieces(
            first.tokenizer, model.tokenizer
        ):
            raise ConfigError(
                f"model {number} of the ensemble has other pieces than model 1, so their probabilities "
                "cannot be averaged. Train all of them with one vocabulary: give each the same text and "
                "[tokenizer], or training.teacher = the first one."
            )
    for number, model in enumerate(models, start=1):
        if isinstance(model.network.output, CopyingOutput):
            raise Unsupported(
                f"model {number} of the ensemble copies from the source (model.copying), and the members "
                "of an ensemble only generate. Leave it out."
            )


def _engine_of(model: Model, precision: RunPrecision | None) -> Callable[[], Any]:
    def make() -> Any:
        stored = "float32" if unsupported_reason(model.network) else model.precision
        return make_engine(model.network, precision=precision or stored)

    return make


def _itself(network: Any) -> Callable[[], Any]:
    return lambda: network


def _require_engine(network: Network, engine: Engine, precision: RunPrecision | None) -> None:
    if engine == "torch" and precision not in {None, "float32"}:
        raise Unsupported(f"precision {precision} needs Saccade's own engine; torch computes in float32.")
    if precision is not None:
        require_possible(network, precision)


def make_reranker(model: Model, tokenizer: Tokenizer, device: torch.device | str) -> Reranker:
    """Makes a reranker for candidates in pieces of `tokenizer`; raises UserError if it does not fit."""
    network = expect(model.network, Seq2Seq, what="the reranker")
    if not same_pieces(tokenizer, model.tokenizer):
        raise ConfigError(
            "the reranker has other pieces than this model, so it cannot read its translations. Train the "
            "student with training.teacher, which uses the teacher's vocabulary."
        )
    network.to(device).eval()
    return Reranker.of(make_engine(network), model.decoding)
