"""Gold alignments: English-German pairs that were aligned by hand, and the reading of others."""

from dataclasses import dataclass, replace
from pathlib import Path

from saccade.errors import InputError
from saccade.text.corpus import read_side_by_side
from saccade.text.pharaoh import Gold, gold_of, require_fit

_FOLDER = Path(__file__).parent
LANGUAGES = ("en", "de")
"""The languages of the pairs that are included, as a source and a target."""


@dataclass(frozen=True)
class GoldSet:
    """Sentence pairs with their gold alignments. name: what they are called."""

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    links: tuple[Gold, ...]

    def swapped(self) -> "GoldSet":
        """The same pairs in the other direction."""
        links = tuple(Gold(_swapped(one.sure), _swapped(one.possible)) for one in self.links)
        return replace(self, sources=self.targets, targets=self.sources, links=links)


def read_gold(source: Path, target: Path, links: Path) -> GoldSet:
    """Reads gold alignments and their pairs.

    Raises UserError for files of unequal length, a line that is not one of links, a link to a word that is
    not there, and for a gold alignment without any sure link.
    """
    sources, targets, lines = read_side_by_side([source, target, links])
    found = []
    for number, line in enumerate(lines, start=1):
        place = f"{links}:{number}"
        found.append(gold_of(line, place=place))
        require_fit(found[-1].possible, sources[number - 1], targets[number - 1], place=place)
    if not any(one.sure for one in found):
        raise InputError(f"{links}: no sure link (i-j) in any line, so that nothing can be scored.")
    return GoldSet(links.name, tuple(sources), tuple(targets), tuple(found))


def included_gold(source_language: str | None, target_language: str | None) -> GoldSet | None:
    """The English-German pairs, or the same as German-English; None for any other languages."""
    languages = tuple((name or "").split("-")[0].lower() for name in (source_language, target_language))
    if languages not in (LANGUAGES, LANGUAGES[::-1]):
        return None
    found = read_gold(*(_FOLDER / f"{name}.txt" for name in ("english", "german", "links")))
    found = replace(found, name="the included English-German pairs")
    return found if languages == LANGUAGES else found.swapped()


def _swapped(links: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    return frozenset((target, source) for source, target in links)
