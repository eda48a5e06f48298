"""Times that are right on a busy machine: processor time of one thread, the least of interleaved repeats."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute with one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def milliseconds(works: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """The processor time of each work on one thread, in milliseconds: the least of its repeats.

    Each work is done once before it is timed. Repeats take turns, so that all works meet the same hindrances.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    with one_thread():
        for work in works.values():
            work()
        for _ in range(repeats):
            for name, work in works.items():
                started = time.process_time()
                work()
                times[name].append(1000 * (time.process_time() - started))
    return {name: min(found) for name, found in times.items()}
