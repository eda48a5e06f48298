"""The size of what can be shown: a page of longer texts would be too large to open."""

from saccade.errors import TooLong

LONGEST = 256
"""Number of tokens of a text, or positions of a picture or a sound, that can be shown."""


def require_shown(count: int, what: str, *, limit: int | None = None, topic: str | None = None) -> None:
    """Raises UserError if `what` has more tokens than can be shown, or than the model reads (limit).

    topic: of the advice, see `UserError`.
    """
    most = LONGEST if limit is None else min(limit, LONGEST)
    if count > most:
        message = f"the {what} has a length of {count:,}, but at most {most} can be shown; take a part of it."
        raise TooLong(message, topic=topic)
