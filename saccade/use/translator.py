"""Translating lines: the common path of command line, Python, validation and inspection."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from saccade.config import build, require_count
from saccade.decoding.hypothesis import Hypothesis
from saccade.decoding.interface import Decoder
from saccade.decoding.keywords import DecodingOptions
from saccade.decoding.options import DecodingConfig
from saccade.decoding.padding import padded
from saccade.decoding.scoring import TargetScore
from saccade.errors import ConfigError, TooLong, Unsupported
from saccade.inspection.record import Inspection
from saccade.inspection.translation import TranslationInspector
from saccade.machine import chosen_device, usable_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.model_folder.heads import AlignmentHeads
from saccade.models.recording import AttentionMap
from saccade.native.fork import survive_fork
from saccade.quantisation import Precision
from saccade.text.batching import plan_for_inference
from saccade.text.lengths import SeenLengths, default_limit
from saccade.text.lines import (
    checked_lines,
    prefixed,
    require_lines,
    require_many,
    require_pairs,
    require_text,
)
from saccade.text.pharaoh import Link
from saccade.text.tokenizer import Tokenizer, between
from saccade.use.aligning import Pairs, aligned_words, word_weights
from saccade.use.attending import attended_pieces, attention_maps
from saccade.use.decoders import Engine, decoder_for, ensemble_of, make_reranker
from saccade.use.minimum_risk import by_minimum_risk
from saccade.use.problems import LineChecks
from saccade.use.reopening import Reopened
from saccade.use.results import Alternative, Problem, Translation
from saccade.use.scoring import score_pairs

_MOST_LINES = 1_000_000  # of a chunk; its lines and translations are in memory together

__all__ = ["Alternative", "Engine", "Problem", "Translation", "Translator", "make_reranker"]


class Translator(Reopened):
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
        seen: SeenLengths | None = None,
        heads: AlignmentHeads | None = None,
    ) -> None:
        """settings: the settings `[decoding]` of the model that differ from the defaults. seen: the lengths
        of the text that it was trained on, if they are known. heads: those that align words, if they were
        chosen."""
        survive_fork()
        self.heads = heads
        self.decoder, self.tokenizer, self.settings, self.seen = decoder, tokenizer, settings, seen
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
        device = usable_device(device)
        decoder = decoder_for(model, device=device, precision=precision, reranker=reranker, engine=engine)
        seen = SeenLengths.of(model.provenance)
        return cls(
            decoder,
            model.tokenizer,
            settings=model.decoding,
            device=device,
            seen=seen,
            heads=model.alignment,
        )

    @classmethod
    def ensemble(
        cls,
        models: Sequence[Model],
        *,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Makes a translator from several models in memory, which write each translation together.

        The probability of a token is the mean of their probabilities. Settings `[decoding]` and the tokeniser
        are those of the first model; the other arguments are those of `of`. Raises UserError for no models,
        and unless all of them write token by token with the same pieces.
        """
        if not models:
            raise ConfigError("an ensemble needs at least one model.")
        device = usable_device(device)
        decoder = ensemble_of(models, device=device, precision=precision, engine=engine)
        first, seen = models[0], SeenLengths.of(models[0].provenance)
        return cls(decoder, first.tokenizer, settings=first.decoding, device=device, seen=seen)

    @classmethod
    def load(
        cls,
        folder: str | Path | Sequence[str | Path],
        *,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
        reranker: str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Loads a model folder or a run folder (its best checkpoint), by default on a GPU; see `of`.

        Several folders make an ensemble; see `ensemble`.
        """
        place = chosen_device(device)
        if not isinstance(folder, str | Path):
            return cls._load_ensemble(folder, place, precision, reranker, engine)
        model, folder = load_model(Path(folder)), Path(folder).absolute()
        made = cls.of(model, device=place, precision=precision, reranker=reranker, engine=engine)
        judge = None if reranker is None else Path(reranker).absolute()
        made.reopen = partial(
            cls.load, folder, device=place, precision=precision, reranker=judge, engine=engine
        )
        return made

    @classmethod
    def _load_ensemble(
        cls,
        folders: Sequence[str | Path],
        place: torch.device,
        precision: Precision | None,
        reranker: str | Path | None,
        engine: Engine,
    ) -> "Translator":
        if reranker is not None:
            raise ConfigError(
                "a reranker picks among the candidates of a non-autoregressive model; an ensemble ranks its "
                "own hypotheses. Leave the reranker out."
            )
        absolute = [Path(folder).absolute() for folder in folders]
        models = [load_model(folder) for folder in absolute]
        made = cls.ensemble(models, device=place, precision=precision, engine=engine)
        made.reopen = partial(cls.load, absolute, device=place, precision=precision, engine=engine)
        return made

    def between(self, source: str | None = None, target: str | None = None) -> Self:
        """A translator with the same model for other languages, by its names; None leaves one unchanged.

        Raises UserError for an unknown language, or if the model has no languages to choose from.
        """
        other = self._changed("between", source, target)
        other.tokenizer = between(self.tokenizer, source, target)
        return other

    def with_options(self, **changes: Unpack[DecodingOptions]) -> Self:
        """A translator with the same model and other decoding settings of its own, also for `score`."""
        other = self._changed("with_options", **changes)
        other.settings = {**self.settings, **changes}
        other.options()
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
        alignments: bool = False,
        first_line: int = 0,
        **options: Unpack[DecodingOptions],
    ) -> list[Translation]:
        """Translates lines; options as in `DecodingConfig` (beam=5, sample=True, ...).

        prefixes: text that each translation must begin with. An empty line stays empty. A line that is too
        long (`max_source_length`), or whose prefix the vocabulary cannot write, gets a `problem` and no
        translation; nothing is truncated silently. alignments: whether each translation gets the links of
        its words, see `align`. first_line: number of the first line if `lines` are part
        of a longer text; line numbers seed sampling. Raises TypeError unless both are lists of str.
        """
        lines, decoding = require_lines(lines, "lines"), self.options(**options)
        prefixes = None if prefixes is None else require_lines(prefixes, "prefixes")
        ids = self.tokenizer.encode_source(lines)
        forced = self._forced(prefixes, len(lines))
        results: list[Translation | None] = [None] * len(lines)
        written: dict[int, Sequence[int]] = {}
        pending, checks = [], self.checks(decoding)
        for index, (line, source, prefix) in enumerate(zip(lines, ids, forced, strict=True)):
            if not line.strip():
                results[index] = Translation(source=line, text="")
            elif problem := checks.obstacle(
                line, source, "" if prefixes is None else prefixes[index], prefix
            ):
                results[index] = Translation(source=line, text="", problems=(problem,))
            else:
                pending.append(index)
        for index, hypotheses in self._decode(pending, ids, forced, decoding, first_line=first_line):
            result = checks.translation(lines[index], ids[index], hypotheses)
            if attention and hypotheses:
                maps = self._attention(ids[index], [*hypotheses[0].tokens, self.decoder.vocabulary.end])
                result = replace(result, attention=maps)
            if hypotheses:
                written[index] = [*hypotheses[0].tokens, self.decoder.vocabulary.end]
            results[index] = result
        found = [result for result in results if result is not None]
        return self._with_links(found, ids, written) if alignments else found

    def align(
        self, sources: Sequence[str], targets: Sequence[str], *, heads: AlignmentHeads | None = None
    ) -> list[tuple[Link, ...]]:
        """The links of each pair: each target word with the source word that cross-attention weighs most.

        A link is a pair of positions (source, target) of words, counted from 0; words are what white space
        separates. heads: whose weights are averaged; None: those that the model folder names, or else all
        heads of the last layer but one. Raises UserError for unequal counts, a line that is too long, and a
        model that cannot align; TypeError unless both are lists of str.
        """
        pairs = self._pairs(sources, targets)
        chosen = self.heads if heads is None else heads
        return aligned_words(self.decoder, self.tokenizer, pairs, chosen, padded=self.padded)

    def word_weights(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> Iterator[tuple[int, list[Tensor]]]:
        """The cross-attention of the words of each pair; see `saccade.use.aligning.word_weights`."""
        pairs = self._pairs(sources, targets)
        return word_weights(self.decoder, self.tokenizer, pairs, padded=self.padded)

    def attention(self, source: str, target: str) -> tuple[AttentionMap, ...]:
        """The maps of all attention modules while the model reads `source` and writes `target`.

        Weights are (heads, query, key). Raises UserError for a model whose attention does not depend on the
        target, unless the target is its own translation.
        """
        source_ids, target_ids = self._pair(source, target)
        if not self.decoder.reads_target and target != self.translate([source])[0].text:
            raise Unsupported(
                "the attention of this model does not depend on the target, so that only its own translation "
                "can be shown. Leave the target out."
            )
        if problem := self.checks().too_long(source_ids, target_ids):
            raise TooLong(problem)
        return self._attention(source_ids, target_ids)

    def pieces(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """Source and target pieces as the model sees them, along the axes of `attention`."""
        source_ids, target_ids = self._pair(source, target)
        return attended_pieces(self.decoder, self.tokenizer, self.padded([source_ids]), target_ids)

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
        alignments: bool = False,
        chunk: int = 2000,
        **options: Unpack[DecodingOptions],
    ) -> Iterator[Translation]:
        """Translates lines as they arrive, `chunk` at a time, so that a file of any size fits in memory.

        prefixes: text that each translation must begin with; raises UserError unless each line has one.
        Raises TypeError unless lines and prefixes are several str; that an item is none shows when it comes.
        """
        require_many(lines, "lines")
        require_count(chunk, "chunk", most=_MOST_LINES)
        rest = checked_lines(lines, "lines")
        chunks = iter(lambda: list(islice(rest, chunk)), [])
        return chain.from_iterable(
            self.stream_chunks(chunks, prefixes=prefixes, alignments=alignments, **options)
        )

    def stream_chunks(
        self,
        chunks: Iterable[Sequence[str]],
        *,
        prefixes: Sequence[str] | None = None,
        alignments: bool = False,
        **options: Unpack[DecodingOptions],
    ) -> Iterator[list[Translation]]:
        """Translates the lines of each chunk together, as `stream` does; yields their translations."""
        require_many(chunks, "chunks")
        forced = None if prefixes is None else require_lines(prefixes, "prefixes")
        return (
            self.translate(lines, prefixes=own, alignments=alignments, first_line=first, **options)
            for first, lines, own in prefixed(chunks, forced)
        )

    def score(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        **options: Unpack[DecodingOptions],
    ) -> list[float]:
        """Log-probability in nats of each target given its source; see `score_targets`."""
        found = self.score_targets(sources, targets, prefixes=prefixes, **options)
        return [one.log_prob for one in found]

    def score_targets(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        **options: Unpack[DecodingOptions],
    ) -> list[TargetScore]:
        """The score of each target given its source, end symbol included, even for empty lines.

        With equal options and prefixes, a translation's text has the log_prob and score that `translate`
        returned, if the tokeniser cuts it into the same pieces again. (For non-autoregressive models,
        `Decoder.sums_over` says what differs.)

        A character that the vocabulary lacks is scored as unknown; `checks` finds them. Raises UserError for
        unequal counts, for a line longer than the limit (`max_source_length`, for both sides), and for models
        that cannot score a target; TypeError unless both are lists of str.
        """
        sources, targets = require_pairs(sources, targets)
        source_ids = self.tokenizer.encode_source(sources)
        target_ids = self.tokenizer.encode_target(targets)
        decoding, forced = self.options(**options), self._forced(prefixes, len(sources))
        self.checks(decoding).require_fit(source_ids, target_ids)
        pairs = list(zip(source_ids, target_ids, strict=True))
        return score_pairs(self.decoder, pairs, forced, options=decoding, device=self.device)

    def _pair(self, source: str, target: str) -> tuple[list[int], list[int]]:
        require_text(source, "source")
        require_text(target, "target")
        return self.tokenizer.encode_source([source])[0], self.tokenizer.encode_target([target])[0]

    def _pairs(self, sources: Sequence[str], targets: Sequence[str]) -> Pairs:
        sources, targets = require_pairs(sources, targets)
        source_ids = self.tokenizer.encode_source(sources)
        target_ids = self.tokenizer.encode_target(targets)
        self.checks().require_fit(source_ids, target_ids)
        return Pairs(sources, targets, source_ids, target_ids)

    def _with_links(
        self, found: list[Translation], ids: list[list[int]], written: Mapping[int, Sequence[int]]
    ) -> list[Translation]:
        """The translations with the links of their words. written: the target ids of those that have some."""
        rows = sorted(written)
        pairs = Pairs(
            [found[row].source for row in rows],
            [found[row].text for row in rows],
            [ids[row] for row in rows],
            [written[row] for row in rows],
        )
        links = aligned_words(self.decoder, self.tokenizer, pairs, self.heads, padded=self.padded)
        by_row = dict(zip(rows, links, strict=True))
        return [replace(one, links=by_row.get(row, ())) for row, one in enumerate(found)]

    def _attention(self, source: list[int], target: list[int]) -> tuple[AttentionMap, ...]:
        return attention_maps(self.decoder, self.tokenizer, self.padded([source]), target)

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
            if getattr(options, "mbr", None) is not None:
                found = [self._by_risk(hypotheses, options) for hypotheses in found]
            yield from zip(rows, found, strict=True)

    def padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Padded source ids (sentences, longest) and lengths (sentences,), on the model's device."""
        return padded(sequences, pad=self.decoder.vocabulary.pad, device=self.device)

    def checks(self, options: Any = None) -> LineChecks:
        """What is checked of each line under these options (unset: the model's own)."""
        chosen: int | None = (self.options() if options is None else options).max_source_length
        limit = default_limit(self.seen) if chosen is None else chosen or None
        reads, writes = self.decoder.max_source_length, self.decoder.max_target_length
        return LineChecks(self.tokenizer, self.seen, limit, reads, writes)

    def _by_risk(self, hypotheses: list[Hypothesis], options: DecodingConfig) -> list[Hypothesis]:
        """The hypotheses of a line by expected utility, the greatest first."""
        texts = [self.tokenizer.decode(one.tokens) for one in hypotheses]
        assert options.mbr is not None
        return by_minimum_risk(hypotheses, texts, utility=options.mbr, sampled=options.sample)

    def _forced(self, prefixes: Sequence[str] | None, count: int) -> list[list[int]]:
        """The ids that each target must begin with: its prefix, or the token of the target language."""
        encode = self.tokenizer.encode_target
        if prefixes is None:
            return [encode([""])[0][:-1]] * count
        if len(prefixes) != count:
            raise ValueError(f"{len(prefixes)} prefixes for {count} lines")
        return [target[:-1] for target in encode(prefixes)]
