"""Making the decoder of a translation model that is in memory."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch

from saccade.decoding.interface import Decoder
from saccade.decoding.rerank import Reranker
from saccade.decoding.strategy import decoder_of
from saccade.engine import make_engine, require_possible, unsupported_reason
from saccade.errors import ConfigError, Unsupported
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.families import Seq2Seq, expect
from saccade.quantisation import PRECISIONS, RunPrecision
from saccade.text.tokenizer import Tokenizer, same_pieces

Engine = Literal["saccade", "torch"]
"""Inference backend: "saccade" uses our CPU kernels if they support the model, "torch" only torch."""


def decoder_for(
    model: Model,
    *,
    device: torch.device | str,
    precision: RunPrecision | None,
    reranker: Model | str | Path | None,
    engine: Engine,
) -> Decoder:
    """The decoder of a model; the arguments are those of `Translator.of`."""
    _require_known(engine, precision)
    network = model.network.to(device)
    if engine == "torch" and precision not in {None, "float32"}:
        raise Unsupported(f"precision {precision} needs Saccade's own engine; torch computes in float32.")
    if precision is not None:
        require_possible(network, precision)
    if isinstance(reranker, str | Path):
        reranker = load_model(Path(reranker))
    judge = None if reranker is None else make_reranker(reranker, model.tokenizer, device)

    def engine_of_network() -> Any:
        stored = "float32" if unsupported_reason(network) else model.precision
        return make_engine(network, precision=precision or stored)

    return decoder_of(network, engine_of_network if engine == "saccade" else None, reranker=judge)


def _require_known(engine: object, precision: object) -> None:
    for name, value, allowed in (("engine", engine, get_args(Engine)), ("precision", precision, PRECISIONS)):
        if value is not None and value not in allowed:
            raise ConfigError(f"{name} = {str(value)[:40]!r}: allowed are {', '.join(allowed)}.")


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
