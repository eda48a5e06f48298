"""Alignments by counting the pieces that occur together (eflomal: Östling and Tiedemann 2016)."""

from collections.abc import Iterable, Sequence

from saccade.distribution import missing
from saccade.storage.folders import temporary_folder


def aligned_by_counting(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Aligns each target piece with a source piece, learning from these pairs, which should be many.

    sources, targets: ids with the end symbol last. A target piece that eflomal does not align gets the source
    of the piece before it. eflomal uses new random numbers in each call, so that a few links differ. Raises
    UserError if it is not installed.
    """
    try:
        import eflomal
    except ImportError as error:
        raise missing("eflomal is not installed", "align") from error
    pairs = list(zip(sources, targets, strict=True))
    usable = [i for i, (source, target) in enumerate(pairs) if min(len(source), len(target)) > 1]
    found: list[list[int]] = [[] for _ in sources]
    if not usable:
        return found
    with temporary_folder("align") as folder:
        links = folder / "links"
        # Ids instead of pieces, which eflomal would convert to lower case and split at spaces.
        eflomal.Aligner().align(
            [_line(sources[i]) for i in usable], [_line(targets[i]) for i in usable], str(links)
        )
        lines = links.read_text(encoding="utf-8").split("\n")[:-1]
    for i, line in zip(usable, lines, strict=True):
        linked = (link.split("-") for link in line.split())
        known = {int(word): int(piece) for piece, word in linked}
        found[i] = filled(known, len(targets[i]) - 1)
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
