"""Compiling the parts of a model that repeat: once for all layers, and for all lengths."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, cast

import torch
from torch import nn

from saccade.storage.caches import place_others
from saccade.training.objective import Loss

WORTH = 2000
"""Number of updates from which on compiling pays for itself on a GPU; it takes about a minute."""


class CompiledRegions:
    """The compiled methods of a model, in use within a `with` block.

    A module lists in `compiled_methods` those of its methods that can be one graph. Modules of one class
    share it, so that the time to compile does not grow with the number of layers. Sizes are symbols: a batch
    of another shape needs no other graph. Outside of the block, in validation for example, the model is as it
    was.
    """

    def __init__(self, loss: Loss, *, backend: Any = "inductor") -> None:
        """Also compiles the objective's own functions. backend: as in `torch.compile`."""
        place_others()
        self.backend = backend
        self._methods = [
            (module, name, self._compiled(getattr(module, name)))
            for module in loss.model.modules()
            for name in getattr(module, "compiled_methods", ())
        ]
        loss.objective = loss.objective.compiled(self._compiled)

    def __enter__(self) -> None:
        # Sizes that happen to be equal in the first batch are different symbols.
        self._symbols = _different_symbols()
        self._symbols.__enter__()
        for module, name, compiled in self._methods:
            setattr(module, name, compiled)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for module, name, _ in self._methods:
            delattr(module, name)
        self._symbols.__exit__(kind, error, traceback)

    def _compiled(self, function: Any) -> Any:
        return torch.compile(function, dynamic=True, backend=self.backend)


def _different_symbols() -> AbstractContextManager[None]:
    from torch.fx.experimental import _config as shapes  # slow to import

    patched: AbstractContextManager[None] = cast(Any, shapes).patch(use_duck_shape=False)
    return patched


def has_regions(model: nn.Module) -> bool:
    """Whether the model has methods that can be compiled."""
    return any(getattr(module, "compiled_methods", ()) for module in model.modules())
