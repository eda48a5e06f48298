"""Lets a process that was forked after a model was loaded go on computing, with one thread.

OpenMP's threads do not survive a fork, and the child would wait for them for ever. torch's own data loader
does the same for its workers.
"""

import functools
import os

import torch


@functools.cache
def survive_fork() -> None:
    """From now on, a forked child of this process computes with one thread.

    The child must not ask torch for more (`torch.set_num_threads`); one that needs them starts as a process
    of its own and loads the model itself.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
