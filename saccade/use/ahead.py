"""Work that a thread does ahead of the one that takes its results."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_Slot = tuple[list[Item], BaseException | None]
"""One item; or none at the end, and the error that ended them."""


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, the next of which is made by another thread while the present one is in use.

    It raises what `items` raises, after the items before. If the taker stops, so does the thread, after the
    item that it is making; it does not keep the process from ending.
    """
    ready: queue.Queue[_Slot[Item]] = queue.Queue(1)
    stopped = threading.Event()
    threading.Thread(target=_fill, args=(ready, items, stopped), name="ahead", daemon=True).start()
    try:
        while True:
            found, error = ready.get()
            if error is not None:
                raise error
            if not found:
                return
            yield found[0]
    finally:
        stopped.set()


def _fill(ready: "queue.Queue[_Slot[Item]]", items: Iterable[Item], stopped: threading.Event) -> None:
    """Puts the items into the queue, then their end or their error, until it is stopped."""
    error: BaseException | None = None
    try:
        for item in items:
            _put(ready, ([item], None), stopped)
            if stopped.is_set():
                return
    except BaseException as raised:  # noqa: BLE001 (raised where the items are taken)
        error = raised
    _put(ready, ([], error), stopped)


def _put(ready: "queue.Queue[_Slot[Item]]", slot: "_Slot[Item]", stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            ready.put(slot, timeout=0.1)
        except queue.Full:
            continue
        return
