"""Lines that arrive while a command works: what is there is taken together, and nobody waits for more."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

WINDOW = 0.02
"""Seconds in which the lines that follow the first one are gathered. A program that waits for an answer waits
as long; one that writes without a pause fills a chunk sooner."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    """The end of the lines, and the error that they ended with."""

    error: BaseException | None


def arriving(lines: Iterable[Item], *, most: int) -> Iterator[list[Item]]:
    """Yields chunks of lines, or of what is read from them, at most `most`, as soon as no more arrive.

    It raises what `lines` raises.

    Another thread reads, so that this one can find that nothing is there without waiting for it.
    """
    arrived: queue.Queue[Item | _End] = queue.Queue(2 * most)
    stopped = threading.Event()

    def read() -> None:
        end: BaseException | None = None
        try:
            for line in lines:
                arrived.put(line)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (raised where the lines are taken)
            end = error
        arrived.put(_End(end))

    threading.Thread(target=read, name="lines", daemon=True).start()
    try:
        yield from _chunks(arrived, most)
    finally:
        stopped.set()
        while not arrived.empty():  # the reader may be waiting for room
            arrived.get_nowait()


def _chunks(arrived: queue.Queue[Item | _End], most: int) -> Iterator[list[Item]]:
    while True:
        chunk: list[Item] = []
        item = arrived.get()
        until = time.monotonic() + WINDOW
        while not isinstance(item, _End):
            chunk.append(item)
            if len(chunk) == most:
                break
            try:
                item = arrived.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
        if chunk:
            yield chunk
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return


def cut(lines: Iterable[Item], *, most: int) -> Iterator[list[Item]]:
    """Yields chunks of `most` lines; the last may be shorter."""
    rest = iter(lines)
    while chunk := list(islice(rest, most)):
        yield chunk
