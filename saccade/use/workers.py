"""Batches that are decoded at the same time, each with some of the cores.

Threads that compute one product together wait for each other, and all but one wait while Python chooses the
next hypotheses. Threads that decode batches of their own do not.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from saccade.machine import has_room_for_threads
from saccade.native.library import kernels

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 4
"""Batches at a time, which all need memory; with more cores, each batch has several."""


def workers_here() -> int:
    """How many batches may be decoded at a time: one for each core that torch may use, within bounds."""
    count = min(torch.get_num_threads(), _MOST)
    return count if count > 1 and has_room_for_threads(count) else 1


def each(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int) -> Iterator[Result]:
    """work(item) for each item, in their order, up to `workers` of them at the same time.

    The workers share out the threads that torch may use. What `work` raises is raised here, once the results
    before have been taken; items that have not begun are then given up, as they are if the taker stops.
    """
    if workers == 1 or len(items) == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads() // workers
    pool = ThreadPoolExecutor(workers, "decoding", initializer=_use, initargs=(threads,))
    try:
        running: deque[Future[Result]] = deque()
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) == 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _use(threads: int) -> None:
    """Sets the number of threads of the calling thread alone; torch.set_num_threads changes others, too."""
    torch.get_num_threads()  # torch sets its number when a thread first asks
    kernels().set_threads(threads)
