"""One alignment from two: links that both have, and links that extend them.

Koehn, Och and Marcu 2003, "Statistical Phrase-Based Translation", section 3; "final-and" is of Koehn
et al. 2005.
"""

from collections.abc import Callable, Collection, Mapping

from saccade.text.pharaoh import Link

Links = frozenset[Link]

_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def intersection(one: Collection[Link], other: Collection[Link]) -> Links:
    """The links that both alignments have: few, and mostly right."""
    return frozenset(one) & frozenset(other)


def grow_diag_final_and(one: Collection[Link], other: Collection[Link]) -> Links:
    """The intersection, grown by links of either alignment.

    First come links beside one that is there, straight or diagonal, if one of their words has no link yet;
    then those for which neither word has one. The order of the links decides between rivals: by source, then
    by target.
    """
    found = set(intersection(one, other))
    both = sorted({*one, *other})
    grown = True
    while grown:
        grown = False
        for link in both:
            if link not in found and _is_beside(link, found) and _free(link, found) != (False, False):
                found.add(link)
                grown = True
    for alignment in (one, other):
        for link in sorted(alignment):
            if _free(link, found) == (True, True):
                found.add(link)
    return frozenset(found)


def _is_beside(link: Link, found: set[Link]) -> bool:
    return any((link[0] + i, link[1] + j) in found for i, j in _NEIGHBOURS)


def _free(link: Link, found: set[Link]) -> tuple[bool, bool]:
    """Whether the source word and the target word have no link."""
    return all(i != link[0] for i, _ in found), all(j != link[1] for _, j in found)


COMBINATIONS: Mapping[str, Callable[[Collection[Link], Collection[Link]], Links]] = {
    "grow-diag-final-and": grow_diag_final_and,
    "intersection": intersection,
}
"""The ways of making one alignment from two."""
