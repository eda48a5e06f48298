"""Lines on their way through a translator: cut into pieces, decoded, and made translations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from saccade.decoding.hypothesis import Hypothesis
from saccade.model_folder.heads import AlignmentHeads
from saccade.text.lines import require_lines
from saccade.use.aligning import Pairs, aligned_words
from saccade.use.attending import attention_maps
from saccade.use.problems import LineChecks
from saccade.use.results import Translation
from saccade.use.text_decoder import TextDecoder

Decoded = Sequence[tuple[int, list[Hypothesis]]]
"""The hypotheses of lines, each with the index of its line."""


@dataclass(frozen=True)
class Request:
    """Lines to translate, of which some need no search.

    ids, forced: source ids of each line, and target ids that its translation must begin with. results: of
    each line, None for those that are decoded; pending: the indices of these. options: those of the decoder.
    first_line: number of the first line.
    """

    text: TextDecoder
    lines: list[str]
    ids: list[list[int]]
    forced: list[list[int]]
    pending: list[int]
    results: list[Translation | None]
    checks: LineChecks
    options: Any
    first_line: int

    @classmethod
    def of(
        cls,
        text: TextDecoder,
        lines: Sequence[str],
        prefixes: Sequence[str] | None,
        *,
        checks: LineChecks,
        options: Any,
        first_line: int,
    ) -> Self:
        """Cuts lines into pieces, and answers those that are empty or cannot be translated.

        Raises TypeError unless lines and prefixes are lists of str, and ValueError for unequal counts.
        """
        lines = require_lines(lines, "lines")
        prefixes = None if prefixes is None else require_lines(prefixes, "prefixes")
        ids = text.tokenizer.encode_source(lines)
        forced = text.forced(prefixes, len(lines))
        results: list[Translation | None] = [None] * len(lines)
        pending = []
        for index, (line, source, prefix) in enumerate(zip(lines, ids, forced, strict=True)):
            if not line.strip():
                results[index] = Translation(source=line, text="")
            elif problem := checks.obstacle(
                line, source, "" if prefixes is None else prefixes[index], prefix
            ):
                results[index] = Translation(source=line, text="", problems=(problem,))
            else:
                pending.append(index)
        return cls(text, lines, ids, forced, pending, results, checks, options, first_line)

    def decoded(self) -> Decoded:
        """The hypotheses of the lines that are decoded."""
        return list(
            self.text.hypotheses(
                self.ids, self.forced, rows=self.pending, options=self.options, first_line=self.first_line
            )
        )

    def translations(
        self,
        decoded: Decoded,
        *,
        attention: bool = False,
        alignments: bool = False,
        heads: AlignmentHeads | None = None,
    ) -> list[Translation]:
        """A translation for each line.

        attention: whether each gets the maps of its attention; alignments: whether each gets the links of its
        words, by `heads`; see `aligned_words`.
        """
        results = list(self.results)
        for index, hypotheses in decoded:
            result = self.checks.translation(self.lines[index], self.ids[index], hypotheses)
            if attention and hypotheses:
                maps = attention_maps(self.text, self.ids[index], self._written(hypotheses))
                result = replace(result, attention=maps)
            results[index] = result
        found = [result for result in results if result is not None]
        return self._with_links(found, decoded, heads) if alignments else found

    def _with_links(
        self, found: Sequence[Translation], decoded: Decoded, heads: AlignmentHeads | None
    ) -> list[Translation]:
        written = {index: self._written(hypotheses) for index, hypotheses in decoded if hypotheses}
        rows = sorted(written)
        pairs = Pairs(
            [found[row].source for row in rows],
            [found[row].text for row in rows],
            [self.ids[row] for row in rows],
            [written[row] for row in rows],
        )
        links = dict(zip(rows, aligned_words(self.text, pairs, heads), strict=True))
        return [replace(one, links=links.get(row, ())) for row, one in enumerate(found)]

    def _written(self, hypotheses: Sequence[Hypothesis]) -> list[int]:
        """The target ids of the best hypothesis, the end symbol last."""
        return [*hypotheses[0].tokens, self.text.decoder.vocabulary.end]
