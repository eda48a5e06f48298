"""Word alignments as text, in the format of Pharaoh (Koehn 2004): one line for each sentence pair.

A link `i-j` joins word i of the source with word j of the target. Words are what blanks separate, counted
from 0. In a gold alignment, `ipj` is a possible link (Och and Ney 2003): right, but not required.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from saccade.errors import InputError

Link = tuple[int, int]
"""A source position and a target position, from 0."""
LARGEST = 65_535
"""The largest position; a cache stores each in 16 bits."""

_LINK = re.compile(r"([0-9]{1,5})([-p])([0-9]{1,5})")


class Gold(NamedTuple):
    """The gold alignment of a sentence pair. possible: contains the sure links as well."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def gold_of(line: str, *, place: str) -> Gold:
    """The links of a line. Raises UserError, naming `place`, if it is not a line of links."""
    sure, possible = set(), set()
    for word in line.split():
        match = _LINK.fullmatch(word)
        link = None if match is None else (int(match[1]), int(match[3]))
        if match is None or link is None or max(link) > LARGEST:
            raise InputError(
                f"{place}: {word[:40]!r} is no link. A line has links such as 0-0 2-1, or 2p1 if it is only "
                f"possible, with positions from 0 to {LARGEST:,}."
            )
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def links_of(line: str, *, place: str) -> tuple[Link, ...]:
    """The links of a line in order, each once, possible ones included. Raises UserError as `gold_of` does."""
    return tuple(sorted(gold_of(line, place=place).possible))


def links_line(links: Iterable[Link]) -> str:
    """The line of these links in order, which `links_of` reads."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def require_fit(links: Iterable[Link], source: str, target: str, *, place: str) -> None:
    """Raises UserError, naming `place`, for a link to a word that one of the sides does not have."""
    counts = len(source.split()), len(target.split())
    for link in links:
        if link[0] >= counts[0] or link[1] >= counts[1]:
            raise InputError(
                f"{place}: the link {link[0]}-{link[1]} is to no word of the pair, which has {counts[0]} "
                f"source and {counts[1]} target words, counted from 0 and separated by blanks. They were "
                "made for other text, or for text that was tokenised in another way."
            )


def spread(links: Iterable[Link], source: Sequence[int], target: Sequence[int]) -> list[Link]:
    """Links of pieces from links of words, in order: each piece of a word with each piece of the other.

    source, target: the number of the word of each piece, -1 for none; see `saccade.text.word_pieces`.
    """
    places: tuple[dict[int, list[int]], ...] = ({}, {})
    for found, numbers in zip(places, (source, target), strict=True):
        for place, number in enumerate(numbers):
            found.setdefault(number, []).append(place)
    first, second = places
    pieces = {(i, j) for a, b in links for i in first.get(a, ()) for j in second.get(b, ())}
    return sorted(pieces)
