"""Networks whose weights are not drawn: outlines, without memory for them, and blank ones to be loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saccade.config import Section
from saccade.errors import ConfigError
from saccade.machine import require_memory
from saccade.models import build_model
from saccade.models.families import Network
from saccade.models.interface import Vocabulary


def outline(config: Section, vocabulary: Vocabulary) -> Network:
    """The network with parameters on torch's meta device, made in milliseconds whatever its size.

    Tables of positions are empty, and no random number is drawn. Raises UserError if the configuration does
    not fit the vocabulary, or if its sizes together are beyond any machine.
    """
    try:
        with _Outlining():
            return build_model(config, vocabulary)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise ConfigError("model: its sizes together are too large for any machine.") from error


def blank(config: Section, vocabulary: Vocabulary) -> Network:
    """The network as `build_model` makes it, but with weights that have not been drawn and must be loaded.

    Drawing took half of the time of loading. torch's random generator is left alone.
    """
    with _Blank():
        return build_model(config, vocabulary)


def parameters_in(network: nn.Module) -> int:
    """The number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def require_room(config: Section, vocabulary: Vocabulary | None = None, *, trained: bool = True) -> None:
    """Raises UserError if the model, and what training keeps besides it, cannot fit into the free memory.

    vocabulary: None: not known yet; its part is left out. trained: whether gradients and the optimiser's two
    moments are kept on this machine as well.
    """
    network = outline(config, vocabulary or Vocabulary(8, 8, pad=0, start=2, end=3, shared=True))
    count = parameters_in(network)
    what = f"training a model of {count:,} parameters" if trained else f"a model of {count:,} parameters"
    require_memory(4 * count * (4 if trained else 1), what)


class _Outlining(TorchFunctionMode):
    """Makes tensors without memory, and skips what would compute values.

    `torch.device("meta")` would do for the former. It computes the latter in Python, and torch loads sympy
    for that, which takes a second.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _FILLING or _initialises(func):
            return _untouched(args, options)
        if func is torch.arange:
            return torch.empty(0, dtype=options.get("dtype", torch.int64))
        if func is torch.norm_except_dim:  # of weight normalisation
            weight, _, kept = args
            sizes = [size if axis == kept % weight.ndim else 1 for axis, size in enumerate(weight.shape)]
            return torch.empty(sizes, dtype=weight.dtype, device="meta")
        if func in _MAKING:
            func, options = torch.empty, {**options, "device": "meta"}
        return func(*args, **options)


class _Blank(TorchFunctionMode):
    """Skips what would initialise weights, and puts zeros where random numbers would be drawn.

    What lies in memory would not do: torch draws a truncated normal distribution again until all fit.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _DRAWING:
            return args[0].zero_()
        return _untouched(args, options) if _initialises(func) else func(*args, **options)


def _initialises(function: Any) -> bool:
    return getattr(function, "__module__", "") == nn.init.__name__


def _untouched(args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """The tensor that a function in place was given."""
    return args[0] if args else options["tensor"]


_DRAWING = {Tensor.uniform_, Tensor.normal_}
_MAKING = {torch.empty, torch.zeros, torch.ones}
_FILLING = {*_DRAWING, Tensor.fill_, Tensor.zero_}
