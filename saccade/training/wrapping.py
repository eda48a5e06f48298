"""How the model of one process belongs to those of the others.

Every implementation averages gradients over the processes in the backward pass of a wrapped module.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Wrapping(Protocol):
    """What stands between a model and the other processes."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """The module to call instead of `loss`."""
        ...

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Within it gradients add up in this process alone; the next backward pass outside exchanges them."""
        ...


class Unwrapped:
    """One process alone. Satisfies `Wrapping`."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """The module itself."""
        return loss

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing is exchanged anyway."""
        return nullcontext()


class Replicated:
    """A copy of the whole model in each process. Satisfies `Wrapping`."""

    def wrap(self, loss: nn.Module) -> nn.Module:
        """The module under DDP."""
        # Buffers are tables that each process computes alike, and grows when it meets a longer sentence.
        return DistributedDataParallel(loss, broadcast_buffers=False)

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """DDP's own."""
        assert isinstance(wrapped, DistributedDataParallel)
        context: AbstractContextManager[None] = wrapped.no_sync()
        return context
