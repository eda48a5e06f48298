"""Reading sentence pairs: scores, word alignments, and the settings that both sides are read with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, Unpack, cast

import torch
from torch import Tensor

from saccade.config import build
from saccade.decoding.interface import Decoder
from saccade.decoding.keywords import DecodingOptions
from saccade.decoding.scoring import TargetScore
from saccade.model_folder.heads import AlignmentHeads
from saccade.native.fork import survive_fork
from saccade.text.lengths import SeenLengths, default_limit
from saccade.text.lines import (
    require_pairs,
    require_text,
)
from saccade.text.pharaoh import Link
from saccade.text.tokenizer import Tokenizer, between, undecided_language
from saccade.use.aligning import Pairs, aligned_words, word_weights
from saccade.use.attending import attended_pieces
from saccade.use.loaded import LoadedModel
from saccade.use.problems import LineChecks
from saccade.use.scoring import score_pairs
from saccade.use.text_decoder import TextDecoder


class PairReader(LoadedModel):
    """A decoder with its tokeniser, which says something about sources and given targets."""

    topic = "translator"
    sections = ("decoding",)

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

    def between(self, source: str | None = None, target: str | None = None) -> Self:
        """See `LoadedModel.between`."""
        other = self._changed("between", source, target)
        other.tokenizer = between(self.tokenizer, source, target)
        return other

    def with_options(self, **changes: Unpack[DecodingOptions]) -> Self:
        """A translator with the same model and other decoding settings of its own, also for `score`."""
        other = self._changed("with_options", **changes)
        other.settings = {**self.settings, **changes}
        other.options()
        return other

    def _with_settings(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        return self.with_options(**cast(DecodingOptions, sections["decoding"]))

    def note(self) -> str | None:
        """See `LoadedModel.note`."""
        return undecided_language(self.tokenizer)

    def options(self, **changes: Unpack[DecodingOptions]) -> Any:
        """The model's own decoding settings with `changes`, an instance of `Decoder.options`.

        Raises UserError, naming the setting, for an invalid one.
        """
        options = build(self.decoder.options, {**self.settings, **changes}, where="decoding")
        self.decoder.check(options)
        return options

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
        decoding, forced = self.options(**options), self._text.forced(prefixes, len(sources))
        self.checks(decoding).require_fit(source_ids, target_ids)
        pairs = list(zip(source_ids, target_ids, strict=True))
        return score_pairs(self._text, pairs, forced, options=decoding)

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
        return aligned_words(self._text, pairs, self.heads if heads is None else heads)

    def word_weights(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> Iterator[tuple[int, list[Tensor]]]:
        """The cross-attention of the words of each pair; see `saccade.use.aligning.word_weights`."""
        return word_weights(self._text, self._pairs(sources, targets))

    def pieces(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """Source and target pieces as the model sees them, along the axes of `attention`."""
        return attended_pieces(self._text, *self._pair(source, target))

    def padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Padded source ids (sentences, longest) and lengths (sentences,), on the model's device."""
        return self._text.padded(sequences)

    def checks(self, options: Any = None) -> LineChecks:
        """What is checked of each line under these options (unset: the model's own)."""
        chosen: int | None = (self.options() if options is None else options).max_source_length
        limit = default_limit(self.seen) if chosen is None else chosen or None
        reads, writes = self.decoder.max_source_length, self.decoder.max_target_length
        return LineChecks(self.tokenizer, self.seen, limit, reads, writes)

    @property
    def _text(self) -> TextDecoder:
        return TextDecoder(self.decoder, self.tokenizer, self.device)

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
