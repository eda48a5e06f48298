"""Fertilities as text: one line of whole numbers for each pair of lines, one number for each source piece.

A number counts the target pieces of the source piece; end symbols are not counted on either side.
"""

from collections.abc import Sequence

from saccade.errors import InputError, UserError

LARGEST = 65_535
"""The largest fertility; a cache stores each in 16 bits."""


def fertilities_of(line: str, *, place: str) -> tuple[int, ...]:
    """The numbers of a line. Raises UserError, naming `place`, if it is not a line of fertilities."""
    words = line.split()
    if all(word.isascii() and word.isdigit() and len(word) <= len(str(LARGEST)) for word in words):
        numbers = tuple(map(int, words))
        if max(numbers, default=0) <= LARGEST:
            return numbers
    raise UserError(
        f"{place}: not a line of whole numbers up to {LARGEST:,}; make the file again.", topic="fertilities"
    )


def fertilities_line(fertilities: Sequence[int]) -> str:
    """The line of these fertilities, which `fertilities_of` reads."""
    return " ".join(map(str, fertilities))


def require_fit(fertilities: Sequence[int], *, source: int, target: int, place: str) -> None:
    """Raises UserError unless there is a number for each source piece and their sum is that of target pieces.

    source, target: numbers of pieces without end symbols.
    """
    if len(fertilities) != source or sum(fertilities) != target:
        raise InputError(
            f"{place}: its fertilities are {len(fertilities)} numbers that add up to {sum(fertilities)}, but "
            f"the pair has {source} source and {target} target pieces. They were made for other text or with "
            "another vocabulary. Set training.teacher to the model that made them, or make them again."
        )
