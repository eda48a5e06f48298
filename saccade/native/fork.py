"""Lets a child that was forked after a model was loaded use it, with one thread.

OpenMP's threads do not survive a fork: the child would wait for them for ever. torch's data loader does the
same for its workers.
"""

import functools
import os

import torch


@functools.cache
def survive_fork() -> None:
    """Makes every child that this process forks from now on compute with one thread.

    The child must not ask torch for more threads. A worker that needs several loads the model itself, after
    the fork.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
