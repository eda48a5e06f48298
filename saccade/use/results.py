"""The results of translating a line, and what may be wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from saccade.models.recording import AttentionMap
from saccade.text.pharaoh import Link

ProblemCode = Literal[
    "language",
    "too-long",
    "prefix",
    "no-translation",
    "unknown",
    "breaks",
    "control",
    "long",
    "cut",
    "repeats",
    "short",
]
"""What can be wrong with a line. The first four leave it without a translation.

language: the line asks for a language that the model does not have.
too-long: the line has more pieces than may be translated.
prefix: the text that the translation must begin with has characters that the vocabulary lacks.
no-translation: search found nothing within the length limits.
unknown: the line has characters that the vocabulary lacks; the model read the unknown piece in their place.
breaks: the line has line ends within it that are no line feed, so it may be several lines.
long: the line has far more pieces than any line that the model was trained on.
cut: the translation was cut at its greatest length.
repeats: the translation repeats the same words many times in a row, and the line does not.
short: the translation is far shorter than those of lines of this length usually are.
"""

_OBSTACLES = ("language", "too-long", "prefix", "no-translation")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or likely to be wrong, with a line or its translation."""

    code: ProblemCode
    message: str

    def __str__(self) -> str:
        return self.message


def described(problems: Sequence[Problem]) -> str | None:
    """The messages of problems in one line; None if there are none."""
    return "; ".join(one.message for one in problems) or None


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

    problems: what is wrong, or likely to be wrong, with the line or the best hypothesis, the gravest first;
    the text is empty if the line could not be translated. attention: the maps of all attention modules,
    weights (heads, query, key), if requested. links: pairs of positions of source words and words of the
    text, if requested; see `Translator.align`.
    """

    source: str
    text: str
    tokens: tuple[str, ...] = ()
    score: float = 0.0
    log_prob: float = 0.0
    alternatives: tuple[Alternative, ...] = ()
    problems: tuple[Problem, ...] = ()
    attention: tuple[AttentionMap, ...] | None = None
    links: tuple[Link, ...] | None = None

    @property
    def problem(self) -> str | None:
        """The messages of `problems` in one line; None if there are none."""
        return described(self.problems)

    @property
    def failed(self) -> bool:
        """Whether the line was left without a translation."""
        return any(one.code in _OBSTACLES for one in self.problems)
