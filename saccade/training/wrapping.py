"""Strategies that join the model of one process with those of the others.

Every implementation averages gradients over the processes in the backward pass of a wrapped module.
"""

from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any, Protocol

from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Wrapping(Protocol):
    """The interface of a strategy."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """Returns the module to call instead of `loss`."""
        ...

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Sums gradients in this process alone within the block; the next backward pass exchanges them."""
        ...


class Unwrapped:
    """The strategy of a single process. Satisfies `Wrapping`."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """Returns the module itself."""
        return loss

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:  # noqa: ARG002
        """Does nothing, because there are no other processes."""
        return nullcontext()


# Which of the two depends on torch's version.
_EXCHANGE_OF_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)


class Replicated:
    """A copy of the whole model in each process (DDP). Satisfies `Wrapping`."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """Wraps the module in DDP."""
        # Buffers are tables that each process computes identically and extends for longer sentences.
        without: Any = {_EXCHANGE_OF_BUFFERS: False}
        return DistributedDataParallel(loss, **without)

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """See `Wrapping.without_exchange`."""
        assert isinstance(wrapped, DistributedDataParallel)
        context: AbstractContextManager[None] = wrapped.no_sync()
        return context
