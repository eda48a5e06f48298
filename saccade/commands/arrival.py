"""Lines that arrive while a command works: what is there is taken together, and nobody waits for more."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice

WINDOW = 0.02
"""Seconds in which the lines that follow the first one are gathered. A program that waits for an answer waits
as long; one that writes without a pause fills a chunk sooner."""

_Arrived = queue.Queue[str | tuple[BaseException | None]]
"""Lines, then a tuple of the error that they ended with."""


def arriving(lines: Iterable[str], *, most: int) -> Iterator[list[str]]:
    """Yields chunks of lines, at most `most`, as soon as no more arrive; raises what `lines` raises.

    Another thread reads, so that this one can find that nothing is there without waiting for it.
    """
    arrived: _Arrived = queue.Queue(2 * most)
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
        arrived.put((end,))

    threading.Thread(target=read, name="lines", daemon=True).start()
    try:
        yield from _chunks(arrived, most)
    finally:
        stopped.set()
        while not arrived.empty():  # the reader may be waiting for room
            arrived.get_nowait()


def _chunks(arrived: _Arrived, most: int) -> Iterator[list[str]]:
    while True:
        chunk: list[str] = []
        item = arrived.get()
        until = time.monotonic() + WINDOW
        while isinstance(item, str):
            chunk.append(item)
            if len(chunk) == most:
                break
            try:
                item = arrived.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
        if chunk:
            yield chunk
        if isinstance(item, tuple):
            if item[0] is not None:
                raise item[0]
            return


def cut(lines: Iterable[str], *, most: int) -> Iterator[list[str]]:
    """Yields chunks of `most` lines; the last may be shorter."""
    rest = iter(lines)
    while chunk := list(islice(rest, most)):
        yield chunk
