"""Lets a child that was forked after a model was loaded use it, with one thread.

OpenMP's threads do not survive a fork: the child would wait for them for ever. torch's data loader does the
same for its workers. Nor does a thread survive that holds a lock.
"""

import functools
import os
import threading
from typing import Generic, TypeVar

from saccade.errors import Unsupported

ValueT = TypeVar("ValueT")

BUILDING = threading.RLock()
"""Held while something is made once for all threads: kernels, an engine, a table. No other thread holds it
while the process forks, so that it is free in the child."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=BUILDING.acquire, after_in_parent=BUILDING.release, after_in_child=BUILDING.release
    )


@functools.cache
def survive_fork() -> None:
    """Makes every child that this process forks from now on compute with one thread.

    The child must not ask torch for more threads. A worker that needs several loads the model itself, after
    the fork.
    """
    import torch  # kernels are found without it

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


class ThisProcess(Generic[ValueT]):
    """Something that has threads of its own, which a forked child does not have and would wait for."""

    def __init__(self, value: ValueT) -> None:
        self._value, self._process = value, os.getpid()

    def get(self) -> ValueT:
        """The value; raises UserError in another process than that which made it."""
        if os.getpid() != self._process:
            raise Unsupported(
                "this exported model was opened before the process forked, and its engine does not survive "
                "that. Open it in each worker, after the fork, or give the workers a model folder of Saccade."
            )
        return self._value
