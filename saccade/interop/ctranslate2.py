"""CTranslate2: our Transformer as its model folder, and its engine behind our Translator."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from saccade.checkpoint import Model
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.options import DecodingConfig
from saccade.errors import UserError
from saccade.interop.exported import (
    exported_folder,
    load_exported,
    position_table,
    transformer_of,
)
from saccade.models.transformer import Transformer
from saccade.quantisation import Precision
from saccade.text.tokenizer import Tokenizer
from saccade.translator import Translator

_ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH"}


def require_ctranslate2() -> Any:
    """The package, or a UserError that names the extra."""
    try:
        import ctranslate2
    except ImportError as error:
        raise UserError("CTranslate2 is not installed: pip install 'saccade[ctranslate2]'.") from error
    return ctranslate2


def write_ctranslate2(model: Model, folder: Path, *, precision: Precision = "float32") -> None:
    """Write what CTranslate2 loads into an existing folder.

    int8: the matrices, a scale for each row; CTranslate2 then multiplies in integers. Raises UserError for
    a model that CTranslate2 can't express.
    """
    package = require_ctranslate2()
    network = transformer_of(model, target="ctranslate2")
    specs, config = package.specs, network.config
    spec = specs.TransformerSpec.from_config(
        (config.encoder_layers, config.decoder_layers),
        config.heads,
        pre_norm=config.norm == "pre",
        activation=getattr(specs.Activation, _ACTIVATIONS[config.activation]),
    )
    _encoder(spec.encoder, network)
    _decoder(spec.decoder, network)
    tokenizer = model.tokenizer
    source, target = vocabularies(tokenizer)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.config.unk_token = target[tokenizer.unknown]
    spec.config.eos_token = target[tokenizer.end]
    spec.config.bos_token = spec.config.decoder_start_token = target[tokenizer.start]
    spec.validate()
    spec.optimize(quantization=precision)
    spec.save(str(folder))


def vocabularies(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Names of all source and target ids, each its own: where pieces repeat or are empty, one is made up."""
    sides = (
        (tokenizer.source_vocab_size, tokenizer.source_pieces),
        (tokenizer.target_vocab_size, tokenizer.target_pieces),
    )
    source, target = (_unique(pieces(range(size))) for size, pieces in sides)
    return source, target


def _unique(pieces: Sequence[str]) -> list[str]:
    seen = {""}
    names = []
    for number, piece in enumerate(pieces):
        names.append(f"<unused{number}>" if piece in seen else piece)
        seen.add(piece)
    return names


class CTranslate2Translator(Translator):
    """Translates with CTranslate2 what `Translator` translates with torch: same lines in, same lines out.

    Its beam search ends a sentence when `beam` hypotheses have ended, and it takes the length penalty
    `power` alone; a model whose settings differ may get other translations with a beam.
    """

    def __init__(self, model: Model, engine: Any) -> None:
        super().__init__(model)
        self._engine = engine
        self._source_names, self._target_names = vocabularies(model.tokenizer)
        self._target_ids = {name: number for number, name in enumerate(self._target_names)}

    def options(self, **changes: Any) -> DecodingConfig:
        """As `Translator.options`; UserError for a setting that CTranslate2 does not have."""
        options: DecodingConfig = super().options(**changes)
        if options.sample:
            raise UserError("decoding.sample: CTranslate2 draws other tokens; sample without --engine.")
        if options.beam > 1 and options.length_penalty != "power" and options.alpha:
            raise UserError(
                "decoding.length_penalty = gnmt: CTranslate2 has only power. Give --length-penalty power, "
                "or --beam 1."
            )
        return options

    def _decode(
        self,
        pending: list[int],
        ids: list[list[int]],
        forced: list[list[int]],
        options: DecodingConfig,
        *,
        first_line: int,  # noqa: ARG002 - seeds sampling, which is refused
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        def limit(index: int) -> int:
            return self._limit(len(ids[index]), len(forced[index]), options)

        for longest, group in groupby(sorted(pending, key=limit), key=limit):
            rows = list(group)
            found = self._engine.translate_batch(
                [[self._source_names[token] for token in ids[index]] for index in rows],
                [[self._target_names[token] for token in forced[index]] for index in rows],
                beam_size=options.beam,
                num_hypotheses=options.nbest,
                length_penalty=options.alpha,
                max_decoding_length=longest - 1,  # theirs leaves the end symbol out
                min_decoding_length=options.min_length,
                max_input_length=0,
                suppress_sequences=self._banned(options),
                max_batch_size=max(options.batch_tokens // options.beam, 1),
                batch_type="tokens",
                return_scores=True,
            )
            for index, result in zip(rows, found, strict=True):
                yield (
                    index,
                    [
                        self._hypothesis(tokens, score, options)
                        for tokens, score in zip(result.hypotheses, result.scores, strict=True)
                    ],
                )

    def _limit(self, source: int, prefix: int, options: DecodingConfig) -> int:
        """Most target tokens, end symbol in; the same rule as in `decoding.search`."""
        longest = options.max_length or int(source * options.max_ratio) + options.max_extra
        longest = max(longest, prefix + 1, options.min_length + 1)
        return min(longest, self.network.max_target_length or longest)

    def _banned(self, options: DecodingConfig) -> list[list[str]]:
        vocabulary = self.network.vocabulary
        never = {vocabulary.pad, vocabulary.start, *options.banned} - {vocabulary.end}
        return [[self._target_names[token]] for token in sorted(never)]

    def _hypothesis(self, names: Sequence[str], score: float, options: DecodingConfig) -> Hypothesis:
        tokens = tuple(self._target_ids[name] for name in names)
        return Hypothesis(tokens, score * (len(tokens) + 1) ** options.alpha, score)


def open_ctranslate2(
    model: Model | Path, *, device: str | None = None, threads: int | None = None
) -> CTranslate2Translator:
    """From an exported folder; a model is converted first, which takes seconds."""
    if isinstance(model, Model):
        with TemporaryDirectory(prefix="saccade-ctranslate2-") as place:
            with exported_folder(folder := Path(place) / "model", model, target="ctranslate2") as new:
                write_ctranslate2(model, new)
            return open_ctranslate2(folder, device=device, threads=threads)
    kind, _, number = (device or "auto").partition(":")
    try:
        engine = require_ctranslate2().Translator(
            str(model),
            device=kind,
            device_index=int(number or 0),
            intra_threads=threads or 0,
            compute_type="default",  # as it was written
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{model}: CTranslate2 cannot load it: {error}.") from error
    return CTranslate2Translator(load_exported(model, target="ctranslate2"), engine)


def _encoder(spec: Any, network: Transformer) -> None:
    _embedding(spec, spec.embeddings[0], network, "source_embedding")
    for layer_spec, layer in zip(spec.layer, network.encoder, strict=True):
        _self_attention(layer_spec.self_attention, layer)
        _feed_forward(layer_spec.ffn, layer)
    if network.config.norm == "pre":
        _norm(spec.layer_norm, network.encoder_norm)


def _decoder(spec: Any, network: Transformer) -> None:
    _embedding(spec, spec.embeddings, network, "target_embedding")
    for layer_spec, layer in zip(spec.layer, network.decoder, strict=True):
        _self_attention(layer_spec.self_attention, layer)
        cross: Any = layer.cross_attention
        modules = cross.query, cross.key_value, cross.output
        for part, module in zip(layer_spec.attention.linear, modules, strict=True):
            _linear(part, module)
        around: Any = layer.around_cross
        _norm(layer_spec.attention.layer_norm, around.norm)
        _feed_forward(layer_spec.ffn, layer)
    if network.config.norm == "pre":
        _norm(spec.layer_norm, network.decoder_norm)
    _linear(spec.projection, network.output)


def _embedding(spec: Any, matrix: Any, network: Transformer, name: str) -> None:
    embedding = getattr(network, name)
    spec.scale_embeddings = network.config.scaled_embeddings
    matrix.weight = _plain(embedding.tokens.weight)
    spec.position_encodings.encodings = position_table(network, name)


def _self_attention(spec: Any, layer: Any) -> None:
    attention = layer.self_attention
    for part, module in zip(spec.linear, (attention.query_key_value, attention.output), strict=True):
        _linear(part, module)
    _norm(spec.layer_norm, layer.around_self.norm)


def _feed_forward(spec: Any, layer: Any) -> None:
    _linear(spec.linear_0, layer.feed_forward.inner)
    _linear(spec.linear_1, layer.feed_forward.outer)
    _norm(spec.layer_norm, layer.around_feed_forward.norm)


def _linear(spec: Any, module: nn.Linear) -> None:
    spec.weight = _plain(module.weight)
    if module.bias is not None:
        spec.bias = _plain(module.bias)


def _norm(spec: Any, module: Any) -> None:
    spec.gamma, spec.beta = _plain(module.weight), _plain(module.bias)


def _plain(tensor: Tensor) -> Tensor:
    """A copy: quantising works in place."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
