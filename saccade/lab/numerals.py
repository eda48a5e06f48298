"""A real translation task that is small enough to learn in seconds: English number words into German ones.

The words come from num2words, as those of the demo. English is cut at blanks and hyphens, German, which
writes a number as one word, into its parts: "forty-two" is "forty two", "zweiundvierzig" is "zwei und
vierzig". What is aligned with what follows from the values of the words.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache

from saccade.lab.toys import FIRST, Pair, pairs_batch
from saccade.models.interface import Vocabulary
from saccade.text.batching import Batch
from saccade.text.numbers import words
from saccade.text.vocabulary import END, PAD, START

MOST = 9_999

_SMALL = range(20)
_TENS = range(20, 100, 10)


@cache
def _values(language: str) -> dict[str, int]:
    """The value of each word of a language from which numbers up to `MOST` are made."""
    found = {words(value, language=language): value for value in (*_SMALL, *_TENS)}
    if language == "de":
        return {**found, "ein": 1, "hundert": 100, "tausend": 1000, "und": -1}
    return {**found, "hundred": 100, "thousand": 1000, "and": -1}


@cache
def english(number: int) -> tuple[str, ...]:
    """The English words of a number."""
    return tuple(re.findall(r"[a-z]+", words(number, language="en")))


@cache
def german(number: int) -> tuple[str, ...]:
    """The parts of a German number word."""
    parts = "|".join(sorted(_values("de"), key=len, reverse=True))
    return tuple(re.findall(parts, words(number, language="de")))


@cache
def _lexicon(language: str) -> dict[str, int]:
    return {word: FIRST + place for place, word in enumerate(_values(language))}


def lexicon(language: str) -> list[str]:
    """The words of a language in the order of their ids, from `FIRST` on.

    Those of 0 to 19 come first, then those of 20, 30, ..., 90, then what else numbers are made from.
    """
    return list(_lexicon(language))


def vocabulary() -> Vocabulary:
    """The vocabulary of both sides, one for each."""
    source, target = (FIRST + len(_lexicon(language)) for language in ("en", "de"))
    return Vocabulary(source, target, pad=PAD, start=START, end=END, shared=False)


def pair(number: int) -> Pair:
    """The ids of a number in English and German, without end symbols."""
    return (
        [_lexicon("en")[word] for word in english(number)],
        [_lexicon("de")[word] for word in german(number)],
    )


def german_of(ids: Sequence[int]) -> list[str]:
    """The German parts that ids stand for; special ids are left out."""
    names = {number: word for word, number in _lexicon("de").items()}
    return [names[one] for one in ids if one in names]


def split(train: int, test: int, *, seed: int) -> tuple[list[int], list[int]]:
    """Random numbers from 100 on, none of them twice: those to train with and those to test with."""
    drawn = random.Random(seed).sample(range(100, MOST + 1), train + test)
    return drawn[:train], drawn[train:]


def batches(numbers: Sequence[int], *, seed: int, rows: int = 32) -> Iterator[Batch]:
    """Batches of these numbers without end, drawn at random."""
    generator, pairs = random.Random(seed), [pair(number) for number in numbers]
    while True:
        yield pairs_batch(generator.choices(pairs, k=rows))


def alignment(number: int) -> set[tuple[int, int]]:
    """The links (place in English, place in German) of words of equal value; "and" and "und" have none."""
    source, target = _places(english(number), "en"), _places(german(number), "de")
    return {(place, target[key]) for key, place in source.items() if key in target}


def _places(parts: Sequence[str], language: str) -> dict[tuple[int, int], int]:
    """The place of each word by (magnitude that it counts, value); a magnitude itself has the value 0."""
    values = [_values(language)[part] for part in parts]
    found: dict[tuple[int, int], int] = {}
    waiting: list[tuple[int, int]] = []
    for place, value in enumerate(values):
        if value in (100, 1000):
            found |= {(value, own): where for own, where in waiting}
            found[value, 0] = place
            waiting = []
        elif value >= 0:
            waiting.append((value, place))
    return found | {(1, own): where for own, where in waiting}
