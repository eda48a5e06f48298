"""A value that is made when it is first needed, once, however many threads ask for it."""

from collections.abc import Callable
from typing import Generic, TypeVar

from saccade.native.fork import BUILDING

ValueT = TypeVar("ValueT")


class Lazy(Generic[ValueT]):
    """Calls `make` at the first `get`; later calls give the same value without waiting."""

    def __init__(self, make: Callable[[], ValueT]) -> None:
        self._make = make
        self._made: list[ValueT] = []

    def get(self) -> ValueT:
        """The value; what `make` raises is raised, and the next call tries again."""
        if not self._made:
            with BUILDING:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]
