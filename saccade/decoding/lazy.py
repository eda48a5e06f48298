"""A value that is made when it is first needed, once, however many threads ask for it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Lazy(Generic[ValueT]):
    """Calls `make` at the first `get`; later calls give the same value without waiting."""

    def __init__(self, make: Callable[[], ValueT]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[ValueT] = []

    def get(self) -> ValueT:
        """The value; what `make` raises is raised, and the next call tries again."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]
