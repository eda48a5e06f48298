"""Measurement of training speed and of the time spent waiting for data."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from saccade.training.counters import Window
from saccade.training.step import UpdateResult

Item = TypeVar("Item")


class Meter:
    """Mean losses over a window of updates, which may begin before a restart, and speed since `take`."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._start = self._lap = time.perf_counter()
        self._waited, self._tokens = 0.0, 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time spent in the block."""
        began = time.perf_counter()
        yield
        self._start += time.perf_counter() - began

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items and counts the time spent on fetching them as waiting."""
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
        """Counts one update; of skipped updates only the time counts."""
        if result.applied:
            self.window.loss += result.loss * result.tokens
            self.window.norm += result.gradient_norm
            self.window.tokens += result.tokens
            self.window.updates += 1
            self._tokens += result.tokens

    def line(self, rate: float) -> str:
        """Text for the live display."""
        values = self._values()
        return (
            f"loss {values['loss']:.3f}  rate {rate:.1e}  {values['tokens_per_second']:,.0f} tokens/s  "
            f"waiting {values['waiting']:.1%}"
        )

    def take(self) -> dict[str, float]:
        """Loss (nats per target token), gradient norm, target tokens/s, share of time waiting; resets all."""
        values = self._values()
        vars(self.window).update(vars(Window()))
        self._start = time.perf_counter()
        self._waited, self._tokens = 0.0, 0
        return values

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._lap = now - self._lap, now
        return seconds

    def _values(self) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return {
            "loss": self.window.loss / max(self.window.tokens, 1),
            "gradient_norm": self.window.norm / max(self.window.updates, 1),
            "tokens_per_second": self._tokens / seconds,
            "waiting": self._waited / seconds,
        }
