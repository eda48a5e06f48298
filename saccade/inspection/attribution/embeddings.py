"""The embeddings of what a network reads, caught where it makes them, so that a gradient can reach them."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn

Embeddings = AbstractContextManager[list[Tensor]]
"""Within the block, the list gets the embeddings (rows, length, width) when the network makes them."""


@contextlib.contextmanager
def embedding_of(network: nn.Module, ids: Tensor, copies: Tensor | None = None) -> Iterator[list[Tensor]]:
    """Collects the embeddings (rows, length, width) of ids when the network first reads them.

    Their gradient can be computed, and ends there. ids (rows, length) may stand behind other ids. copies
    (rows, positions): the places of ids that the network reads again later; these embeddings are the same.
    """
    found: list[Tensor] = []
    again = None if copies is None else ids.gather(1, copies)

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        read = args[0]
        if found:
            copied = again is not None and read.shape == again.shape and torch.equal(read, again)
            if not copied:
                return None
            return found[0].gather(1, cast(Tensor, copies)[..., None].expand(-1, -1, output.size(-1)))
        own = read[:, read.size(1) - ids.size(1) :] if read.dim() == 2 else read
        if own.shape != ids.shape or not torch.equal(own, ids):
            return None
        found.append(output[:, output.size(1) - ids.size(1) :].detach().requires_grad_())
        return torch.cat([output[:, : output.size(1) - ids.size(1)].detach(), found[0]], 1)

    handles = [
        module.register_forward_hook(hook) for module in network.modules() if isinstance(module, nn.Embedding)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the output (rows, length, width) of a module; its gradient can be computed, and ends there."""
    found: list[Tensor] = []

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        found.append(output.detach().requires_grad_())
        return found[-1]

    handle = module.register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()
