"""What is wrong with lines and translations: unknown characters, cuts, repetitions, lost sentences."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from saccade.decoding.hypothesis import Hypothesis
from saccade.errors import TooLong
from saccade.text.lengths import SeenLengths
from saccade.text.tokenizer import Tokenizer, language_problem
from saccade.use.results import Alternative, Problem, Translation

_TIMES, _TOKENS, _PERIOD = 4, 12, 24
"""A repetition counts from this many times in a row and this many tokens on, for n-grams up to a length."""
_SHORT, _LEAST = 3, 24
"""A translation is short if it has less than one third of the usual pieces for a source of at least 24."""
_BREAKS = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f]")
_SHOWN = 5  # unknown characters that a message lists


@dataclass(frozen=True)
class Loop:
    """An n-gram of `period` tokens that begins at `start` and fills `tokens` tokens by repeating itself."""

    start: int
    period: int
    tokens: int

    @property
    def times(self) -> int:
        """How often the n-gram stands there in full."""
        return self.tokens // self.period


def repetition(tokens: Sequence[int]) -> Loop | None:
    """The longest stretch of tokens that repeats one n-gram often enough to count; None without one."""
    # Such a stretch holds each of its tokens at least four times: most sentences are done with here.
    if len(tokens) - len(set(tokens)) < _TOKENS - _TOKENS // _TIMES:
        return None
    found: Loop | None = None
    for period in range(1, min(_PERIOD, len(tokens) // _TIMES) + 1):
        run = longest = end = 0
        for place, same in enumerate(map(int.__eq__, tokens, tokens[period:]), start=period + 1):
            run = run + 1 if same else 0
            if run > longest:
                longest, end = run, place
        covered = longest + period
        if covered >= max(_TOKENS, _TIMES * period) and (found is None or covered > found.tokens):
            found = Loop(end - covered, period, covered)
    return found


@dataclass(frozen=True)
class LineChecks:
    """What a translator checks of each line, before and after it is translated.

    limit: greatest length by the setting `max_source_length`; reads, writes: greatest lengths that the model
    can read and write; None: no limit. All count the end symbol.
    """

    tokenizer: Tokenizer
    seen: SeenLengths | None
    limit: int | None
    reads: int | None
    writes: int | None

    def too_long(self, source: Sequence[int], target: Sequence[int] = ()) -> str | None:
        """The reason why the ids of a line, or of a pair, are too long, or None."""
        for ids, verb, most in ((source, "reads", self.reads), (target, "writes", self.writes)):
            if most is not None and len(ids) > most:
                return f"{len(ids)} pieces, but the model {verb} at most {most}; split the line."
            if self.limit is not None and len(ids) > self.limit:
                return (
                    f"{len(ids)} pieces, more than max_source_length = {self.limit}; split the line, or "
                    "raise that setting (0: no limit)."
                )
        return None

    def require_fit(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> None:
        """Raises UserError, with the line's number, for a pair of which one side is too long."""
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
            if problem := self.too_long(source, target):
                raise TooLong(f"line {number}: {problem}")

    def obstacle(
        self, line: str, source: Sequence[int], prefix: str, forced: Sequence[int]
    ) -> Problem | None:
        """The reason why a line cannot be translated, or None. source, forced: ids of line and prefix."""
        if reason := language_problem(self.tokenizer, line):
            return Problem("language", f"not translated: {reason}")
        if reason := self.too_long(source):
            return Problem("too-long", f"not translated: {reason}")
        if prefix and self.tokenizer.unknown in forced:
            lacking = unknown_text(prefix, self.tokenizer.encode_target, unknown=self.tokenizer.unknown)
            return Problem("prefix", f"not translated: the vocabulary lacks {lacking} of the prefix")
        return None

    def translation(self, line: str, source: Sequence[int], hypotheses: Sequence[Hypothesis]) -> Translation:
        """The hypotheses of a line, best first, as text."""
        if not hypotheses:
            problem = Problem("no-translation", "no translation within the length limits was found")
            return Translation(source=line, text="", problems=(problem,))
        alternatives = tuple(
            Alternative(
                text=self.tokenizer.decode(found.tokens),
                tokens=tuple(self.tokenizer.target_pieces(found.tokens)),
                score=found.score,
                log_prob=found.log_prob,
            )
            for found in hypotheses
        )
        best, problems = alternatives[0], self.doubts(line, source, hypotheses[0])
        return Translation(line, best.text, best.tokens, best.score, best.log_prob, alternatives, problems)

    def doubts(self, line: str, source: Sequence[int], found: Hypothesis) -> tuple[Problem, ...]:
        """What is likely to be wrong with a translation, the gravest first."""
        return *self._of_target(source, found), *self._of_source(line, source)

    def unknown(self, sources: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[int, Problem]]:
        """The pairs with characters that the vocabulary lacks, by their numbers from 0."""
        encoders = {"source": self.tokenizer.encode_source, "target": self.tokenizer.encode_target}
        sides = {"source": sources, "target": targets}
        ids = {side: encode(sides[side]) for side, encode in encoders.items()}
        for number in range(len(sources)):
            lacking = [
                f"{unknown_text(sides[side][number], encode, unknown=self.tokenizer.unknown)} of the {side}"
                for side, encode in encoders.items()
                if self.tokenizer.unknown in ids[side][number]
            ]
            if lacking:
                yield number, Problem("unknown", f"the vocabulary lacks {' and '.join(lacking)}")

    def _of_target(self, source: Sequence[int], found: Hypothesis) -> Iterator[Problem]:
        tokens = found.tokens
        if found.cut:
            settings = "max_length, or max_ratio and max_extra"
            yield Problem("cut", f"the translation was cut at its greatest length ({settings})")
        if (loop := repetition(tokens)) is not None:
            own = repetition(source)
            if own is None or 2 * own.tokens < loop.tokens:
                text = self.tokenizer.decode(tokens[loop.start : loop.start + loop.period]).strip()
                yield Problem("repeats", f"the translation repeats {text!r} {loop.times} times in a row")
        usual = len(source) * (1.0 if self.seen is None else self.seen.ratio)
        if len(source) >= _LEAST and _SHORT * (len(tokens) + 1) < usual:
            yield Problem(
                "short",
                f"the translation has {len(tokens):,} pieces for {len(source) - 1:,} of the line, so that "
                "parts may be missing",
            )

    def _of_source(self, line: str, source: Sequence[int]) -> Iterator[Problem]:
        if self.seen is not None and self.seen.far_exceeded(len(source)):
            yield Problem(
                "long",
                f"the line has {len(source):,} pieces and the longest training line had "
                f"{self.seen.source:,}, so that parts may be lost; give one sentence a line",
            )
        if breaks := _BREAKS.findall(line.strip()):
            kinds = ", ".join(sorted({f"U+{ord(one):04X}" for one in breaks}))
            yield Problem(
                "breaks",
                f"the line has {len(breaks):,} line break(s) within it ({kinds}), read as blanks; only a "
                "line feed ends a line",
            )
        if controls := _CONTROLS.findall(line):
            kinds = ", ".join(sorted({f"U+{ord(one):04X}" for one in controls}))
            yield Problem(
                "control",
                f"the line has {len(controls):,} control character(s) ({kinds}); check whether the file is "
                "damaged",
            )
        if self.tokenizer.unknown in source:
            lacking = unknown_text(line, self.tokenizer.encode_source, unknown=self.tokenizer.unknown)
            yield Problem("unknown", f"the vocabulary lacks {lacking}, read as unknown")


def unknown_text(line: str, encode: Callable[[Sequence[str]], list[list[int]]], *, unknown: int) -> str:
    """What the vocabulary lacks of a line, as messages list it; encode: gives the ids of lines.

    These are characters, or whole words if the vocabulary has pieces for words alone.
    """

    def lacking(parts: Iterable[str]) -> list[str]:
        distinct = list(dict.fromkeys(parts))
        ids = encode(distinct) if distinct else []
        return [one for one, own in zip(distinct, ids, strict=True) if unknown in own]

    words = lacking(line.split())
    characters = lacking(one for word in line.split() for one in word)
    inside = {one for word in words for one in word}
    if any(one not in inside for one in characters) or inside == set(characters):
        characters = words
    more = ", ..." if len(characters) > _SHOWN else ""
    return ", ".join(map(repr, characters[:_SHOWN])) + more or "a part of it"
