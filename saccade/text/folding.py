"""Comparison of lines without regard to case, punctuation and blanks."""

import unicodedata

_IGNORED = "PZC"  # the major categories of Unicode: punctuation, separators, control and format characters


class Folding(dict[int, int | None]):
    """A function from lines to their letters, marks, digits and symbols, without case.

    It keeps what it has found out about each character, so that a whole text is folded with one instance.
    """

    def __call__(self, line: str) -> str:
        """The line without case, punctuation and blanks; possibly nothing."""
        return line.casefold().translate(self)

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code))[0] in _IGNORED else code
        self[code] = kept
        return kept


def has_letters(folded: str) -> bool:
    """Whether a folded line is more than numbers and symbols, which are the same in most languages."""
    return any(map(str.isalpha, folded))
