"""CTranslate2: writing its model folder from our Transformer, and its engine as a decoder."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.memory import check_search
from saccade.decoding.options import DecodingConfig
from saccade.distribution import missing
from saccade.errors import Unsupported
from saccade.interop.exported import (
    Exported,
    about_transformer,
    exported_folder,
    load_exported,
    position_table,
    transformer_of,
)
from saccade.model_folder.checkpoint import Model
from saccade.models.transformer import Transformer
from saccade.native.fork import ThisProcess
from saccade.nn.embedding import Embedding
from saccade.quantisation import Precision
from saccade.storage.folders import temporary_folder
from saccade.text.tokenizer import Tokenizer
from saccade.use.translator import Translator

_ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH"}


def require_ctranslate2() -> Any:
    """Imports the package; raises UserError, naming the extra, if it is not installed."""
    try:
        import ctranslate2
    except ImportError as error:
        raise missing("CTranslate2 is not installed", "ctranslate2") from error
    return ctranslate2


def write_ctranslate2(model: Model, folder: Path, *, precision: Precision = "float32") -> None:
    """Writes a model that CTranslate2 loads to an existing folder.

    precision: int8 quantises the matrices, with a scale for each row, and CTranslate2 multiplies integers.
    Raises UserError for a model that CTranslate2 cannot express.
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
    """Unique names of all source and target ids; repeated and empty pieces get a generated name."""
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


class CTranslate2Decoder(Decoder):
    """A decoder that uses CTranslate2.

    Its beam search ends a sentence when `beam` hypotheses have ended, and it only has the length penalty
    `power`; a model with other settings may get other translations from beam search.
    """

    options = DecodingConfig

    def __init__(self, exported: Exported, engine: Any) -> None:
        self._engine, self.vocabulary = ThisProcess(engine), exported.vocabulary
        self.max_source_length = self.max_target_length = exported.longest
        self._source_names, self._target_names = vocabularies(exported.tokenizer)
        self._target_ids = {name: number for number, name in enumerate(self._target_names)}

    def check(self, options: DecodingConfig) -> None:
        """Raises UserError for a setting that CTranslate2 does not have."""
        if options.sample:
            raise Unsupported(
                "decoding.sample: CTranslate2 would draw other tokens; use Saccade's own engine to sample."
            )
        if options.beam > 1 and options.length_penalty != "power" and options.alpha:
            raise Unsupported(
                "decoding.length_penalty = gnmt: CTranslate2 only has power. Choose power, or a beam of 1."
            )
        for name in ("no_repeat_ngram_size", "repetition_penalty", "coverage_penalty"):
            if getattr(options, name) != DecodingConfig.model_fields[name].default:
                raise Unsupported(
                    f"decoding.{name}: CTranslate2 counts it in another way; use Saccade's own engine."
                )
        check_search(options, self.vocabulary)

    def decode(
        self,
        source: Tensor,
        source_lengths: Tensor,
        *,
        options: DecodingConfig,
        lines: Sequence[int],  # noqa: ARG002 - they seed sampling, which is refused
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        rows = [
            [self._source_names[token] for token in row[:length]]
            for row, length in zip(source.tolist(), source_lengths.tolist(), strict=True)
        ]
        forced = [[self._target_names[token] for token in prefix] for prefix in prefixes]

        def limit(index: int) -> int:
            return self._limit(len(rows[index]), len(forced[index]), options)

        found: list[list[Hypothesis]] = [[] for _ in rows]
        for longest, group in groupby(sorted(range(len(rows)), key=limit), key=limit):
            indices = list(group)
            results = self._engine.get().translate_batch(
                [rows[index] for index in indices],
                [forced[index] for index in indices],
                beam_size=options.beam,
                num_hypotheses=options.nbest,
                length_penalty=options.alpha,
                max_decoding_length=longest - 1,  # theirs excludes the end symbol
                min_decoding_length=options.min_length,
                max_input_length=0,
                suppress_sequences=self._banned(options),
                max_batch_size=max(options.batch_tokens // options.beam, 1),
                batch_type="tokens",
                return_scores=True,
            )
            for index, result in zip(indices, results, strict=True):
                pairs = zip(result.hypotheses, result.scores, strict=True)
                found[index] = [self._hypothesis(names, score, options, longest) for names, score in pairs]
        return found

    def sums_over(self, options: DecodingConfig, *, given: bool) -> str:  # noqa: ARG002
        """See `Decoder.sums_over`."""
        return "the tokens that CTranslate2 counts"

    def _limit(self, source: int, prefix: int, options: DecodingConfig) -> int:
        """Maximum number of target tokens, end symbol included; the rule of `decoding.group.limits_of`."""
        longest = options.max_length or int(source * options.max_ratio) + options.max_extra
        longest = max(longest, prefix + 1, options.min_length + 1)
        return min(longest, self.max_target_length or longest)

    def _banned(self, options: DecodingConfig) -> list[list[str]]:
        vocabulary = self.vocabulary
        never = {vocabulary.pad, vocabulary.start, *options.banned} - {vocabulary.end}
        return [[self._target_names[token]] for token in sorted(never)]

    def _hypothesis(
        self, names: Sequence[str], score: float, options: DecodingConfig, longest: int
    ) -> Hypothesis:
        tokens = tuple(self._target_ids[name] for name in names)
        # CTranslate2 does not say whether a translation of the greatest length would have ended there.
        cut = len(tokens) + 1 >= longest
        return Hypothesis(tokens, score * (len(tokens) + 1) ** options.alpha, score, cut=cut)


def about_ctranslate2(model: Model) -> dict[str, Any]:
    """The model's entries in export.json; raises UserError for one that CTranslate2 cannot express."""
    return about_transformer(model, target="ctranslate2")


def convert_and_open(model: Model, *, device: str | None = None, threads: int | None = None) -> Translator:
    """Converts a model, which takes seconds, and opens a translator over the result."""
    with temporary_folder("ctranslate2") as place:
        about, folder = about_ctranslate2(model), place / "model"
        with exported_folder(folder, model, target="ctranslate2", about=about) as new:
            write_ctranslate2(model, new)
        return open_ctranslate2(folder, device=device, threads=threads)


def open_ctranslate2(folder: Path, *, device: str | None = None, threads: int | None = None) -> Translator:
    """Opens a translator over an exported folder."""
    exported = load_exported(folder, target="ctranslate2")
    kind, _, number = (device or "auto").partition(":")
    try:
        engine = require_ctranslate2().Translator(
            str(folder),
            device=kind,
            device_index=int(number or 0),
            intra_threads=threads or 0,
            compute_type="default",  # as it was written
        )
    except (RuntimeError, ValueError) as error:
        raise Unsupported(f"{folder}: CTranslate2 cannot load it: {error}.") from error
    decoder = CTranslate2Decoder(exported, engine)
    return Translator(decoder, exported.tokenizer, settings=exported.decoding, seen=exported.seen)


def _encoder(spec: Any, network: Transformer) -> None:
    _embedding(spec, spec.embeddings[0], network, network.encoder.embedding)
    for layer_spec, layer in zip(spec.layer, network.encoder.layers, strict=True):
        _self_attention(layer_spec.self_attention, layer)
        _feed_forward(layer_spec.ffn, layer)
    if network.config.norm == "pre":
        _norm(spec.layer_norm, network.encoder.norm)


def _decoder(spec: Any, network: Transformer) -> None:
    _embedding(spec, spec.embeddings, network, network.target_embedding)
    for layer_spec, layer in zip(spec.layer, network.decoder, strict=True):
        _self_attention(layer_spec.self_attention, layer)
        cross: Any = layer.cross_attention
        modules = cross.query, cross.key_value, cross.output
        for part, module in zip(layer_spec.attention.linear, modules, strict=True):
            _linear(part, module)
        around: Any = layer.cross_attention_residual
        _norm(layer_spec.attention.layer_norm, around.norm)
        _feed_forward(layer_spec.ffn, layer)
    if network.config.norm == "pre":
        _norm(spec.layer_norm, network.decoder_norm)
    _linear(spec.projection, network.output)


def _embedding(spec: Any, matrix: Any, network: Transformer, embedding: Embedding) -> None:
    spec.scale_embeddings = network.config.scaled_embeddings
    matrix.weight = _plain(embedding.tokens.weight)
    spec.position_encodings.encodings = position_table(network, embedding)


def _self_attention(spec: Any, layer: Any) -> None:
    attention = layer.self_attention
    for part, module in zip(spec.linear, (attention.query_key_value, attention.output), strict=True):
        _linear(part, module)
    _norm(spec.layer_norm, layer.self_attention_residual.norm)


def _feed_forward(spec: Any, layer: Any) -> None:
    _linear(spec.linear_0, layer.feed_forward.inner)
    _linear(spec.linear_1, layer.feed_forward.outer)
    _norm(spec.layer_norm, layer.feed_forward_residual.norm)


def _linear(spec: Any, module: nn.Linear) -> None:
    spec.weight = _plain(module.weight)
    if module.bias is not None:
        spec.bias = _plain(module.bias)


def _norm(spec: Any, module: Any) -> None:
    spec.gamma, spec.beta = _plain(module.weight), _plain(module.bias)


def _plain(tensor: Tensor) -> Tensor:
    """A float32 copy on the CPU, because quantisation works in place."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
