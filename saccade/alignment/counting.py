"""Alignments by counting the pieces or words that occur together (eflomal: Östling and Tiedemann 2016)."""

from collections.abc import Iterable, Sequence

from saccade.distribution import missing
from saccade.storage.folders import temporary_folder
from saccade.text.pharaoh import Link, links_of


def aligned_by_counting(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Aligns each target piece with a source piece, learning from these pairs, which should be many.

    sources, targets: ids with the end symbol last. A target piece that eflomal does not align gets the source
    of the piece before it. eflomal uses new random numbers in each call, so that a few links differ. Raises
    UserError if it is not installed.
    """
    # Ids instead of pieces, which eflomal would convert to lower case and split at spaces.
    [links] = _counted(list(map(_line, sources)), list(map(_line, targets)), ways=1)
    return [
        filled({word: piece for piece, word in own}, len(target) - 1) if len(source) > 1 else []
        for own, source, target in zip(links, sources, targets, strict=True)
    ]


def both_ways(sources: Sequence[str], targets: Sequence[str]) -> list[list[tuple[Link, ...]]]:
    """The links of the words of each pair in two alignments, learned from these pairs, which should be many.

    In the first one, each target word has at most one link, in the second one each source word. Words are
    compared in lower case. See `aligned_by_counting`.
    """
    words = ([" ".join(line.split()) for line in lines] for lines in (sources, targets))
    return _counted(*words, ways=2)


def _counted(sources: Sequence[str], targets: Sequence[str], *, ways: int) -> list[list[tuple[Link, ...]]]:
    """The links of each pair that eflomal finds, from target to source and, if there are two ways, back."""
    try:
        import eflomal
    except ImportError as error:
        raise missing("eflomal is not installed", "align") from error
    pairs = zip(sources, targets, strict=True)
    usable = [i for i, (source, target) in enumerate(pairs) if source and target]
    found: list[list[tuple[Link, ...]]] = [[()] * len(sources) for _ in range(ways)]
    if not usable:
        return found
    with temporary_folder("align") as folder:
        files = [folder / f"links-{way}" for way in range(ways)]
        texts = ([lines[i] for i in usable] for lines in (sources, targets))
        eflomal.Aligner().align(*texts, *map(str, files))
        for own, file in zip(found, files, strict=True):
            lines = file.read_text(encoding="utf-8").split("\n")[:-1]
            for i, line in zip(usable, lines, strict=True):
                own[i] = links_of(line, place=file.name)
    return found


def filled(known: dict[int, int], count: int) -> list[int]:
    """A source position for each of `count` target pieces: its own or that of the piece before it.

    Pieces before the first aligned one get its position; without any aligned piece the position is 0.
    """
    last = known[min(known)] if known else 0
    positions = []
    for word in range(count):
        last = known.get(word, last)
        positions.append(last)
    return positions


def _line(ids: Iterable[int]) -> str:
    *pieces, _ = ids
    return " ".join(map(str, pieces))
