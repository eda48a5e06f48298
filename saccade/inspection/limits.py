"""The size of what can be shown: a page of longer texts would be too large to open."""

from saccade.errors import TooLong

LONGEST = 256
"""Number of tokens of a text, or positions of a picture or a sound, that can be shown."""


def require_shown(
    count: int, what: str, *, limit: int | None = None, advice: str = "take a part of it"
) -> None:
    """Raises UserError if `what` has more tokens than can be shown, or than the model reads (limit)."""
    most = LONGEST if limit is None else min(limit, LONGEST)
    if count > most:
        raise TooLong(f"the {what} has a length of {count:,}, but at most {most} can be shown; {advice}.")
