"""How fast training goes and how long it waits for data."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from saccade.training.update import UpdateResult

Item = TypeVar("Item")


class Meter:
    """Sums over the updates since the last `take`."""

    def __init__(self) -> None:
        self._lap = time.perf_counter()
        self.forget()

    def forget(self) -> None:
        """Start a new window; what happened in between counts for nothing."""
        self._start = time.perf_counter()
        self._waited = self._loss = self._norm = 0.0
        self._tokens = self._updates = 0

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with the time spent on fetching them counted as waiting."""
        source = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            self._waited += time.perf_counter() - started
            yield item

    def add(self, result: UpdateResult) -> None:
        """Count one update; skipped ones count as time only."""
        if result.applied:
            self._loss += result.loss * result.tokens
            self._norm += result.gradient_norm
            self._tokens += result.tokens
            self._updates += 1

    def line(self, rate: float) -> str:
        """For the live display."""
        values = self._values()
        return (
            f"loss {values['loss']:.3f}  rate {rate:.1e}  {values['tokens_per_second']:,.0f} tokens/s  "
            f"waiting {values['waiting']:.1%}"
        )

    def take(self) -> dict[str, float]:
        """Loss (nats a target token), gradient norm, target tokens/s, share of time waiting; starts anew."""
        values = self._values()
        self.forget()
        return values

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._lap = now - self._lap, now
        return seconds

    def _values(self) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return {
            "loss": self._loss / max(self._tokens, 1),
            "gradient_norm": self._norm / max(self._updates, 1),
            "tokens_per_second": self._tokens / seconds,
            "waiting": self._waited / seconds,
        }
