"""Translating lines: the common path of command line, Python, validation and inspection."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import torch
from torch import Tensor

from saccade.checkpoint import Model, load_model
from saccade.config import build
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.keywords import DecodingOptions
from saccade.decoding.padding import padded
from saccade.decoding.rerank import Reranker
from saccade.decoding.strategy import decoder_of
from saccade.engine import make_engine, unsupported_reason
from saccade.errors import ConfigError, InputError, TooLong, Unsupported
from saccade.inspection.record import Inspection
from saccade.inspection.translation import TranslationInspector
from saccade.models.families import Seq2Seq, expect
from saccade.models.recording import AttentionKind, AttentionMap
from saccade.quantisation import Precision
from saccade.text.batching import plan_for_inference
from saccade.text.tokenizer import Tokenizer, between, same_pieces

Engine = Literal["saccade", "torch"]
"""Inference backend: "saccade" uses our CPU kernels if they support the model, "torch" only torch."""


@dataclass(frozen=True)
class Alternative:
    """A hypothesis as text. score: log_prob (nats, end symbol included) under the length penalty."""

    text: str
    tokens: tuple[str, ...]
    score: float
    log_prob: float


@dataclass(frozen=True)
class Translation:
    """The translation of a line: the best hypothesis and, if requested, alternatives.

    problem: the reason why the line could not be translated; its text is then empty. attention: the maps of
    all attention modules, weights (heads, query, key), if requested.
    """

    source: str
    text: str
    tokens: tuple[str, ...] = ()
    score: float = 0.0
    log_prob: float = 0.0
    alternatives: tuple[Alternative, ...] = ()
    problem: str | None = None
    attention: tuple[AttentionMap, ...] | None = None


class Translator:
    """A decoder with its tokeniser, which translates every line to one line, in order.

    `Translator.of` makes one from a model in memory and `Translator.load` from a folder.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        settings: Mapping[str, Any],
        device: torch.device | str = "cpu",
    ) -> None:
        """settings: the settings `[decoding]` of the model that differ from the defaults."""
        self.decoder, self.tokenizer, self.settings = decoder, tokenizer, settings
        self.device = torch.device(device)

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
        reranker: Model | str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Makes a translator from a model in memory.

        Search may use a copy of the weights, made at the first translation, so that a model that is trained
        further needs a new Translator. precision: numeric precision of matrix products in search; int8 is
        faster but quantises the weights; None: as stored in the folder, or float32 if int8 is not possible.
        reranker: a model, or its folder, that picks among the candidates of a non-autoregressive one. engine:
        see `Engine`.

        Raises UserError for a model that does not translate, or a reranker that does not fit.
        """
        network = model.network.to(device)
        if engine == "torch" and precision == "int8":
            raise Unsupported("precision int8 needs Saccade's own engine; torch computes in float32.")
        if isinstance(reranker, str | Path):
            reranker = load_model(Path(reranker))
        judge = None if reranker is None else make_reranker(reranker, model.tokenizer, device)

        def engine_of_network() -> Any:
            stored = "float32" if unsupported_reason(network) else model.precision
            return make_engine(network, precision=precision or stored)

        decoder = decoder_of(network, engine_of_network if engine == "saccade" else None, reranker=judge)
        return cls(decoder, model.tokenizer, settings=model.decoding, device=device)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
        reranker: str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Loads a model folder or a run folder (its best checkpoint), by default on a GPU; see `of`."""
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_model(Path(folder))
        return cls.of(model, device=device, precision=precision, reranker=reranker, engine=engine)

    def between(self, source: str | None = None, target: str | None = None) -> Self:
        """A translator with the same model for other languages, by its names; None leaves one unchanged.

        Raises UserError for an unknown language, or if the model has no languages to choose from.
        """
        other = copy(self)
        other.tokenizer = between(self.tokenizer, source, target)
        return other

    def options(self, **changes: Unpack[DecodingOptions]) -> Any:
        """The model's own decoding settings with `changes`, an instance of `Decoder.options`.

        Raises UserError, naming the setting, for an invalid one.
        """
        options = build(self.decoder.options, {**self.settings, **changes}, where="decoding")
        self.decoder.check(options)
        return options

    def translate(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        attention: bool = False,
        first_line: int = 0,
        **options: Unpack[DecodingOptions],
    ) -> list[Translation]:
        """Translates lines; options as in `DecodingConfig` (beam=5, sample=True, ...).

        prefixes: text that each translation must begin with. An empty line stays empty; a line that is too
        long for the model gets a `problem` and is never truncated silently. first_line: number of the first
        line if `lines` are part of a longer text; line numbers seed sampling.
        """
        decoding = self.options(**options)
        results: list[Translation | None] = [None] * len(lines)
        ids = self.tokenizer.encode_source(lines)
        forced = self._forced(prefixes, len(lines))
        pending = []
        for index, (line, source) in enumerate(zip(lines, ids, strict=True)):
            if not line.strip():
                results[index] = Translation(source=line, text="")
            elif problem := self.problem(source):
                results[index] = Translation(source=line, text="", problem=f"not translated: {problem}")
            else:
                pending.append(index)
        for index, hypotheses in self._decode(pending, ids, forced, decoding, first_line=first_line):
            result = self._translation(lines[index], hypotheses)
            if attention and hypotheses:
                maps = self._attention(ids[index], [*hypotheses[0].tokens, self.decoder.vocabulary.end])
                result = replace(result, attention=maps)
            results[index] = result
        return [result for result in results if result is not None]

    def attention(self, source: str, target: str) -> tuple[AttentionMap, ...]:
        """The maps of all attention modules while the model reads `source` and writes `target`.

        Weights are (heads, query, key). Raises UserError for a model whose attention does not depend on the
        target, unless the target is its own translation.
        """
        if not self.decoder.reads_target and target != self.translate([source])[0].text:
            raise Unsupported(
                "the attention of this model does not depend on the target, so that only its own translation "
                "can be shown. Leave the target out."
            )
        tokenizer = self.tokenizer
        source_ids, target_ids = tokenizer.encode_source([source])[0], tokenizer.encode_target([target])[0]
        if problem := self.problem(source_ids, target_ids):
            raise TooLong(problem)
        return self._attention(source_ids, target_ids)

    def pieces(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """Source and target pieces as the model sees them, along the axes of `attention`."""
        tokenizer = self.tokenizer
        source_ids, target_ids = tokenizer.encode_source([source])[0], tokenizer.encode_target([target])[0]
        with torch.inference_mode():
            axis = self.decoder.axis(*self.padded([source_ids]), target_ids)
        return tokenizer.source_pieces(source_ids), tokenizer.target_pieces(axis)

    def inspect(
        self,
        text: str,
        target: str | None = None,
        *,
        attributions: bool = True,
        name: str = "",
        **options: Unpack[DecodingOptions],
    ) -> Inspection:
        """What the model does with a text: attention, search, and what each output token rests on.

        target: a translation to look at, unset: the model's own. name: what the record is called on a page.
        Options as in `translate`. See `TranslationInspector.inspect` for the errors.
        """
        inspector = TranslationInspector(self.decoder, self.tokenizer, device=self.device)
        settings = self.options(**options)
        return inspector.inspect(text, target, options=settings, attributions=attributions, name=name)

    def stream(
        self,
        lines: Iterable[str],
        *,
        prefixes: Sequence[str] | None = None,
        chunk: int = 2000,
        **options: Unpack[DecodingOptions],
    ) -> Iterator[Translation]:
        """Translates lines as they arrive, `chunk` at a time, so that a file of any size fits in memory.

        prefixes: text that each translation must begin with; raises UserError unless each line has one.
        """
        rest, first = iter(lines), 0
        while taken := list(islice(rest, chunk)):
            end = first + len(taken)
            if prefixes is not None and len(prefixes) < end:
                raise InputError(
                    f"there are {len(prefixes):,} prefixes but more lines: each line needs one prefix."
                )
            forced = None if prefixes is None else prefixes[first:end]
            yield from self.translate(taken, prefixes=forced, first_line=first, **options)
            first = end
        if prefixes is not None and first < len(prefixes):
            raise InputError(
                f"there are {len(prefixes):,} prefixes but {first:,} lines: each line needs one prefix."
            )

    def score(
        self, sources: Sequence[str], targets: Sequence[str], *, batch_tokens: int = 4096
    ) -> list[float]:
        """Log-probability in nats of each target given its source, end symbol included, even for empty lines.

        Raises UserError for unequal counts, for a line longer than the model's limit, and for models that
        cannot score a target.
        """
        if len(sources) != len(targets):
            raise InputError(
                f"{len(sources):,} source lines, but {len(targets):,} target lines: line N of one belongs to "
                "line N of the other."
            )
        tokenizer = self.tokenizer
        source_ids, target_ids = tokenizer.encode_source(sources), tokenizer.encode_target(targets)
        pairs = list(zip(source_ids, target_ids, strict=True))
        for number, (source, target) in enumerate(pairs, start=1):
            if problem := self.problem(source, target):
                raise TooLong(f"line {number}: {problem}")
        lengths = [max(len(source), len(target)) for source, target in pairs]
        scores = [0.0] * len(lengths)
        for batch in plan_for_inference(lengths, batch_tokens=batch_tokens):
            rows = [int(index) for index in batch]
            values = self._log_probs([source_ids[i] for i in rows], [target_ids[i] for i in rows])
            for index, value in zip(rows, values, strict=True):
                scores[index] = value
        return scores

    @torch.inference_mode()
    def _attention(self, source: list[int], target: list[int]) -> tuple[AttentionMap, ...]:
        """The labelled attention maps of one pass over a finished target, end symbol included."""
        batch = self.padded([source])
        sides = {"source": self.tokenizer.source_pieces(source)}
        sides["target"] = self.tokenizer.target_pieces(self.decoder.axis(*batch, target))
        return tuple(_labelled(one, sides) for one in self.decoder.attention(*batch, target))

    @torch.inference_mode()
    def _log_probs(self, sources: list[list[int]], targets: list[list[int]]) -> list[float]:
        values = self.decoder.log_probs(*self.padded(sources), targets)
        return [float(value) for value in values.tolist()]

    def _decode(
        self,
        pending: list[int],
        ids: list[list[int]],
        forced: list[list[int]],
        options: Any,
        *,
        first_line: int,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        lengths = [len(ids[index]) for index in pending]
        budget = max(options.batch_tokens // options.rows_per_sentence, 1)
        for batch in plan_for_inference(lengths, batch_tokens=budget):
            rows = [pending[int(place)] for place in batch]
            source, source_lengths = self.padded([ids[index] for index in rows])
            found = self.decoder.decode(
                source,
                source_lengths,
                options=options,
                lines=[first_line + index for index in rows],
                prefixes=[forced[index] for index in rows],
            )
            yield from zip(rows, found, strict=True)

    def padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Padded source ids (sentences, longest) and lengths (sentences,), on the model's device."""
        return padded(sequences, pad=self.decoder.vocabulary.pad, device=self.device)

    def problem(self, source: Sequence[int], target: Sequence[int] = ()) -> str | None:
        """The reason why sequences are too long for the model, or None."""
        for ids, verb, limit in (
            (source, "reads", self.decoder.max_source_length),
            (target, "writes", self.decoder.max_target_length),
        ):
            if limit is not None and len(ids) > limit:
                return f"{len(ids)} pieces, but the model {verb} at most {limit}; split the line."
        return None

    def _forced(self, prefixes: Sequence[str] | None, count: int) -> list[list[int]]:
        """The ids that each target must begin with: its prefix, or the token of the target language."""
        if prefixes is not None and len(prefixes) != count:
            raise ValueError(f"{len(prefixes)} prefixes for {count} lines")
        encode = self.tokenizer.encode_target
        if prefixes is None:
            return [encode([""])[0][:-1]] * count
        return [target[:-1] for target in encode(prefixes)]

    def _translation(self, line: str, hypotheses: list[Hypothesis]) -> Translation:
        tokenizer = self.tokenizer
        alternatives = tuple(
            Alternative(
                text=tokenizer.decode(found.tokens),
                tokens=tuple(tokenizer.target_pieces(found.tokens)),
                score=found.score,
                log_prob=found.log_prob,
            )
            for found in hypotheses
        )
        if not alternatives:
            return Translation(
                source=line, text="", problem="no translation within the length limits was found"
            )
        best = alternatives[0]
        return Translation(line, best.text, best.tokens, best.score, best.log_prob, alternatives)


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


def _labelled(one: AttentionMap, sides: Mapping[str, Sequence[str]]) -> AttentionMap:
    """The map of a single sentence, on the CPU, with the pieces along its axes."""
    weights = one.weights[0].cpu()  # (heads, query, key)
    axes = zip(_AXES[one.kind], weights.shape[1:], strict=True)
    queries, keys = (_pieces_of(sides, side, size) for side, size in axes)
    return replace(one, weights=weights, queries=queries, keys=keys)


def _pieces_of(sides: Mapping[str, Sequence[str]], side: str, size: int) -> tuple[str, ...]:
    """The pieces along an axis; none if the model's positions are not these pieces."""
    pieces = tuple(sides[side])
    return pieces if len(pieces) == size else ()


_AXES: dict[AttentionKind, tuple[str, str]] = {
    "encoder": ("source", "source"),
    "decoder": ("target", "target"),
    "cross": ("target", "source"),
    "positional": ("target", "target"),
}
