"""Translating lines: the common path of command line, Python, validation and inspection."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Unpack

import torch

from saccade.config import require_count
from saccade.decoding.keywords import DecodingOptions
from saccade.errors import TooLong, Unsupported
from saccade.inspection.record import Inspection
from saccade.inspection.translation import TranslationInspector
from saccade.machine import chosen_device, usable_device
from saccade.model_folder.checkpoint import Model, load_model
from saccade.models.recording import AttentionMap
from saccade.quantisation import RunPrecision
from saccade.text.lengths import SeenLengths
from saccade.text.lines import (
    checked_lines,
    prefixed,
    require_lines,
    require_many,
)
from saccade.use.ahead import ahead
from saccade.use.attending import attention_maps
from saccade.use.decoders import Engine, decoder_for, make_reranker
from saccade.use.pair_reader import PairReader
from saccade.use.request import Request
from saccade.use.results import Alternative, Problem, Translation

_MOST_LINES = 1_000_000  # of a chunk; its lines and translations are in memory together

__all__ = ["Alternative", "Engine", "Problem", "Translation", "Translator", "make_reranker"]


class Translator(PairReader):
    """A decoder with its tokeniser, which translates every line to one line, in order.

    `Translator.of` makes one from a model in memory and `Translator.load` from a folder.
    """

    answers = True

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        device: torch.device | str = "cpu",
        precision: RunPrecision | None = None,
        reranker: Model | str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Makes a translator from a model in memory.

        Search may use a copy of the weights, made at the first translation, so that a model that is trained
        further needs a new Translator. precision: numeric precision of matrix products in search. int8 is
        faster on a CPU but quantises the weights; bfloat16 and float16 are for GPUs; None: as stored in the
        folder, or float32 if int8 is not possible.
        reranker: a model, or its folder, that picks among the candidates of a non-autoregressive one. engine:
        see `Engine`.

        Raises UserError for a model that does not translate, or a reranker that does not fit.
        """
        return cls.ensemble([model], device=device, precision=precision, reranker=reranker, engine=engine)

    @classmethod
    def ensemble(
        cls,
        models: Sequence[Model],
        *,
        device: torch.device | str = "cpu",
        precision: RunPrecision | None = None,
        reranker: Model | str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Makes a translator from several models in memory, which write each translation together.

        The probability of a token is the mean of their probabilities. Settings `[decoding]` and the tokeniser
        are those of the first model; the other arguments are those of `of`. Raises UserError for no models,
        and, if there are several, unless all of them write token by token with the same pieces.
        """
        device = usable_device(device)
        decoder = decoder_for(models, device=device, precision=precision, reranker=reranker, engine=engine)
        first = models[0]
        return cls(
            decoder,
            first.tokenizer,
            settings=first.decoding,
            device=device,
            seen=SeenLengths.of(first.provenance),
            heads=first.alignment if len(models) == 1 else None,
        )

    @classmethod
    def load(
        cls,
        folder: str | Path | Sequence[str | Path],
        *,
        device: torch.device | str | None = None,
        precision: RunPrecision | None = None,
        reranker: str | Path | None = None,
        engine: Engine = "saccade",
    ) -> "Translator":
        """Loads a model folder or a run folder (its best checkpoint), by default on a GPU; see `of`.

        Several folders make an ensemble; see `ensemble`.
        """
        place = chosen_device(device)
        folders = [Path(folder)] if isinstance(folder, str | Path) else [Path(one) for one in folder]
        models = [load_model(one) for one in folders]
        made = cls.ensemble(models, device=place, precision=precision, reranker=reranker, engine=engine)
        again = [one.absolute() for one in folders]
        judge = None if reranker is None else Path(reranker).absolute()
        made.reopen = partial(
            cls.load, again, device=place, precision=precision, reranker=judge, engine=engine
        )
        return made

    def answer(self, text: str) -> str:
        """See `LoadedModel.answer`."""
        return self.translate([text])[0].text

    def common_target(self, text: str) -> str | None:
        """See `LoadedModel.common_target`: its translation, if its attention depends on the target."""
        return (self.answer(text) or None) if self.decoder.reads_target else None

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
        request = self._request(lines, prefixes, first_line=first_line, **options)
        return request.translations(
            request.decoded(), attention=attention, alignments=alignments, heads=self.heads
        )

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
        """Translates the lines of each chunk together, as `stream` does; yields their translations.

        On a GPU, other threads cut the next chunk into pieces and decode, so that the GPU does not wait for
        tokenising and for what is done with the translations.
        """
        require_many(chunks, "chunks")
        forced = None if prefixes is None else require_lines(prefixes, "prefixes")
        # Links need the network, which another thread must not use at the same time.
        alone = alignments or self.device.type == "cpu"
        overlap: Callable[[Iterable[Any]], Iterable[Any]] = iter if alone else ahead
        requests = overlap(
            self._request(lines, own, first_line=first, **options)
            for first, lines, own in prefixed(chunks, forced)
        )
        found = overlap((request, request.decoded()) for request in requests)
        return (
            request.translations(decoded, alignments=alignments, heads=self.heads)
            for request, decoded in found
        )

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
        return attention_maps(self._text, source_ids, target_ids)

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

    def _request(
        self,
        lines: Sequence[str],
        prefixes: Sequence[str] | None,
        *,
        first_line: int,
        **options: Unpack[DecodingOptions],
    ) -> Request:
        decoding = self.options(**options)
        checks = self.checks(decoding)
        return Request.of(self._text, lines, prefixes, checks=checks, options=decoding, first_line=first_line)
