"""Fertilities as text: for each pair of lines one line of whole numbers, one number for each source piece.

A number says how many target pieces the source piece has; end symbols are not counted on either side.
"""

from collections.abc import Sequence

from saccade.errors import InputError


def fertilities_of(line: str | None, *, place: str) -> tuple[int, ...]:
    """The numbers of a line (None: it was not UTF-8). UserError, naming `place`, for anything else."""
    words = () if line is None else line.split()
    if line is None or not all(word.isascii() and word.isdigit() for word in words):
        raise InputError(f"{place}: not a line of whole numbers. Make the file again.", topic="fertilities")
    return tuple(map(int, words))


def fertilities_line(fertilities: Sequence[int]) -> str:
    """What `fertilities_of` reads."""
    return " ".join(map(str, fertilities))


def require_fit(fertilities: Sequence[int], *, source: int, target: int, place: str) -> None:
    """UserError where the numbers are not for so many source and target pieces, end symbols not counted."""
    if len(fertilities) != source or sum(fertilities) != target:
        raise InputError(
            f"{place}: its fertilities are {len(fertilities)} numbers that add up to {sum(fertilities)}, but "
            f"the pair has {source} source and {target} target pieces. They were made for other text or with "
            "another vocabulary: set training.teacher to the model that made them, or make them again."
        )
